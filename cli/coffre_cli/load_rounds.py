"""The rounds of a load test: a backup, its proof and a restore, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from coffre.errors import (
    AuthenticationError,
    BadInputError,
    CoffreError,
    DatabaseMissingError,
    LeaseHeldError,
    PoolerRefusedError,
    SourceUnreachableError,
    TlsError,
)
from coffre.ids import backup_id
from coffre.results import (
    BackupResult,
    DrillResult,
    Finding,
    Round,
    Stage,
    TestedBackup,
    TestedProof,
    TestedRestore,
    VerifyResult,
)
from coffre.vault.evidence import newest_evidence
from coffre_cli import invoke
from coffre_cli.following import follow
from coffre_cli.load_watch import Watch
from coffre_cli.stack import Stack

REASON = "load test"
IDLE_SECONDS = 60.0
"""How long a verification may take to begin by itself; then it is asked for."""
POLL_SECONDS = 1.0
NO_SERVER = (
    BadInputError,
    SourceUnreachableError,
    AuthenticationError,
    TlsError,
    DatabaseMissingError,
    PoolerRefusedError,
)
"""What a restore fails with if its scratch server can't be used, which says nothing about the backup."""
SHOWN_REASONS = 20


@dataclass
class Rounds:
    """What a load test makes its stack do.

    Attributes
    ----------
    scratch:
        What names the scratch server in an event; empty: the registration's; None: there is none, and the
        restore of the proof is what was measured.
    tick:
        Called about twice a second while something goes on.
    """

    stack: Stack
    database: str
    watch: Watch
    scratch: dict[str, str] | None
    tick: Callable[[], None]
    _last: datetime | None = None

    def run(self, number: int, told: Callable[[Stage, Round], None]) -> Round:
        """One round, or as much of it as could be done.

        Parameters
        ----------
        told:
            Called when a stage has ended, with the round so far.
        """
        done = Round(number=number)
        try:
            with self.watch.during("backup", number):
                backup = self._backup()
            done = done.model_copy(update={"backup": backup})
            told("backup", done)
            with self.watch.during("proof", number):
                proof = self._proof(backup)
            done = done.model_copy(update={"proof": proof})
            told("proof", done)
            done = done.model_copy(update={"restore": self._restore(number, backup, proof)})
            told("restore", done)
        except CoffreError as error:
            return done.model_copy(update={"fault": _fault(error, self.watch.stage)})
        return done

    def _backup(self) -> TestedBackup:
        scheduled = datetime.now(UTC).replace(microsecond=0)
        if self._last is not None and scheduled <= self._last:  # a backup's id tells seconds
            scheduled = self._last + timedelta(seconds=1)
        self._last = scheduled
        event = {"type": "manual", "scheduled_time": scheduled.isoformat(), "database": self.database}
        answer = invoke.call(self.stack, "backup", {**event, "reason": REASON}, self.tick)
        if answer["status"] == "started":
            identifier = backup_id(self.database, "manual", scheduled)
            answer = {**answer, **follow(self.stack.catalogue(), self.database, identifier, self.tick)}
        taken = BackupResult.model_validate(answer)
        return TestedBackup.model_validate(taken.model_dump(include=set(TestedBackup.model_fields)))

    def _proof(self, backup: TestedBackup) -> TestedProof:
        """The verification that begins by itself; one that doesn't is asked for."""
        found = self._verified(backup)
        if found is None:
            event = {"database": self.database, "backup_id": backup.backup_id}
            found = VerifyResult.model_validate(invoke.call(self.stack, "verify", event, self.tick))
        compared = found.compared
        return TestedProof(
            verdict=found.verdict,
            seconds=found.seconds,
            phases=found.phases,
            tables=compared.tables,
            rows=compared.rows,
            digests=compared.digests,
            reasons=found.reasons[:SHOWN_REASONS],
        )

    def _verified(self, backup: TestedBackup) -> VerifyResult | None:
        """Wait for the verification that the manifest's event starts; None if none begins."""
        catalogue, idle = self.stack.catalogue(), time.monotonic()
        while time.monotonic() < idle + IDLE_SECONDS:
            entry = catalogue.backup(self.database, backup.backup_id)
            if entry is not None and entry.verdict is not None:
                return newest_evidence(self.stack.store(), self.database, backup.backup_id, backup.root_hash)
            live = catalogue.live_runs(self.database)
            if any(run.kind == "verify" and run.backup_id == backup.backup_id for run in live):
                idle = time.monotonic()
            self.tick()
            time.sleep(POLL_SECONDS)
        return None

    def _restore(self, number: int, backup: TestedBackup, proof: TestedProof) -> TestedRestore | None:
        if self.scratch is None:
            return self._proven_restore(backup, proof)
        with self.watch.during("restore", number):
            return self._drill(backup, self.scratch)

    def _drill(self, backup: TestedBackup, where: dict[str, str]) -> TestedRestore:
        event = {"action": "drill", "database": self.database, "backup": backup.backup_id, **where}
        drilled = DrillResult.model_validate(invoke.call(self.stack, "restore", event, self.tick))
        return TestedRestore(
            kind="drill", **drilled.model_dump(include=set(TestedRestore.model_fields) - {"kind"})
        )

    def _proven_restore(self, backup: TestedBackup, proof: TestedProof) -> TestedRestore | None:
        """The restore of the proof, as the history has it; None if nothing was proven."""
        history = self.stack.catalogue().restores(self.database)
        entry = next(
            (one for one in history if (one.kind, one.backup_id) == ("proof", backup.backup_id)), None
        )
        if entry is None:
            return None
        return TestedRestore(
            server="the embedded server of a proof",
            kind="proof",
            tables=entry.tables,
            rows=entry.rows,
            bytes=entry.bytes,
            seconds=entry.milliseconds / 1000,
            phases=proof.phases,
            digests_equal=True,
        )


def _fault(error: CoffreError, stage: Stage) -> Finding:
    """What ended a round; somebody else's run, and a scratch server that can't be used, prove nothing."""
    idle = isinstance(error, LeaseHeldError) or (stage == "restore" and isinstance(error, NO_SERVER))
    level = "warn" if idle else "refuse"
    return Finding.model_validate(
        {
            "level": level,
            "code": error.code,
            "object": stage,
            "message": f"the {stage} failed: {error.message}",
            "advice": error.hint,
        }
    )
