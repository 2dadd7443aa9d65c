"""The ledger: how far a backup or a restore on the state machine is, and what its functions tell each other.

One item for the run, and one for each batch.  Every write that could be repeated is conditional: a doubled
worker, a late holder or a second end changes nothing.  AWS Step Functions does the bookkeeping of what runs;
the ledger is how functions that run at the same time find each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from coffre.catalogue.entries import known_values
from coffre.catalogue.table import Table, expiry
from coffre.errors import RunOfAnotherVersionError
from coffre.ids import stamp

State = Literal["open", "released", "failed", "committed"]


@dataclass(frozen=True)
class Progress:
    """A run as the ledger knows it.

    Whatever version of Coffre began a run, every other one ends it: so its state, code and message stay what
    they are.

    Attributes
    ----------
    version:
        Of all that the run's functions leave for each other (`require_version`); 0 if nobody said.
    state:
        ``open`` while rows are read, ``released`` when all are and the snapshot isn't needed any more; then
        ``committed`` or ``failed``.
    holder, snapshot:
        The number of the function that holds the snapshot, from 1, and what importers need; 0 and empty
        before.
    plan:
        The name of the plan whose batches are read; empty before there is one.
    done, total:
        Bytes on the source's disk; ``batches_done`` of ``batches``, and the rows so far.
    moved:
        When something was finished the last time.
    pause:
        Seconds before another attempt, so that whoever waited for this one's locks goes first.
    code, message:
        What a holder failed with.
    phase, tries:
        Of a restore: what it does now, and how often it was started.
    given, result:
        Of a restore: what the state machine was given, and what came out, as JSON.
    told:
        How many tries, by now, everybody was told the end of.
    seal:
        The key that everything is sealed with (`coffre.vault.manifest.SealKey`) as JSON; empty if nothing is.
    """

    backup_id: str
    state: State
    deadline: str
    started: str
    moved: str
    pause: int
    holder: int = 0
    snapshot: str = ""
    plan: str = ""
    batches: int = 0
    batches_done: int = 0
    done: int = 0
    total: int = 0
    rows: int = 0
    code: str = ""
    message: str = ""
    phase: str = ""
    tries: int = 1
    given: str = ""
    result: str = ""
    seal: str = ""
    version: int = 0
    told: int = 0

    def require_version(self, version: int, what: str, advice: str | None = None) -> None:
        """Refuse to go on with a run that another version of Coffre began.

        A deployment, or its undoing, changes the functions of a run that goes on.

        Parameters
        ----------
        version:
            What this version of Coffre reads.
        what:
            The run, for the message.
        advice:
            What to do, if it isn't the error's own.

        Raises
        ------
        RunOfAnotherVersionError
        """
        if self.version != version:
            raise RunOfAnotherVersionError(
                f"{what} was begun by another version of Coffre: its notes have version {self.version}, "
                f"this one reads version {version}",
                advice,
            )


@dataclass(frozen=True)
class BatchRecord:
    """A batch that was captured.

    Attributes
    ----------
    part:
        The fields of the part that holds its records, as JSON.
    sections, rows, bytes, digest:
        How many sections the part has, and their sums as the worker counted them; the digest in hex.
    rest:
        The name of the batch with what there was no time for; empty if there was for everything.
    size, milliseconds:
        Bytes on the source's disk that were read, and how long it took.
    """

    name: str
    part: str
    sections: int
    rows: int
    bytes: int
    digest: str
    new_chunks: int
    new_bytes: int
    size: int
    milliseconds: int
    rest: str = ""


class Ledger:
    """One attempt at one backup.

    Every method may raise CatalogueUnavailableError.
    """

    def __init__(self, table: Table, database: str, attempt: str, now: Callable[[], datetime]) -> None:
        self._table = table
        self._database = database
        self._sort = f"LEDGER#{attempt}"
        self._now = now

    def open(
        self,
        backup_id: str,
        deadline: datetime,
        *,
        version: int,
        pause: int = 0,
        given: str = "",
        seal: str = "",
    ) -> bool:
        """Begin.  False if this attempt has been begun before."""
        moment = stamp(self._now())
        values = {
            "backup_id": backup_id,
            "state": "open",
            "deadline": stamp(deadline),
            "started": moment,
            "moved": moment,
            "version": version,
            "pause": pause,
            "given": given or None,
            "seal": seal or None,
            "expires_at": expiry(deadline),
        }
        return self._table.update(
            self._database, self._sort, values, condition="attribute_not_exists(#state)"
        )

    def open_again(self, deadline: datetime) -> bool:
        """Begin again what has failed.  False if it hasn't."""
        values = {
            "state": "open",
            "deadline": stamp(deadline),
            "moved": stamp(self._now()),
            "code": None,
            "message": None,
            "expires_at": expiry(deadline),
        }
        before = self.read()
        if before is None:
            return False
        values["tries"] = before.tries + 1
        given = {"failed": "failed", "before": before.tries}
        condition = "#state = :failed AND (attribute_not_exists(#tries) OR #tries = :before)"
        return self._set(values, condition, given)

    def read(self) -> Progress | None:
        """How far it is; None if it wasn't begun."""
        item = self._table.get(self._database, self._sort)
        return None if item is None else Progress(**known_values(Progress, item))

    def publish(self, holder: int, snapshot: str) -> bool:
        """Say who holds the snapshot now.  False if another one does, or nobody needs it any more."""
        condition = "#state IN (:open, :released) AND "
        condition += "attribute_not_exists(#holder)" if holder == 1 else "#holder = :before"
        given = {"open": "open", "released": "released", **({"before": holder - 1} if holder > 1 else {})}
        return self._set({"holder": holder, "snapshot": snapshot}, condition, given)

    def planned(self, plan: str, *, batches: int, total: int) -> bool:
        """Say which plan counts, and how much there is to do.  False if one does, or the run has ended."""
        values = {"plan": plan, "batches": batches, "total": total, "moved": stamp(self._now())}
        return self._set(values, "#state = :open AND attribute_not_exists(#plan)", {"open": "open"})

    def enter(self, phase: str, *, batches: int, total: int | None = None) -> bool:
        """Say what a restore does now, and in how many batches.  False if the run has ended."""
        values: dict[str, Any] = {"phase": phase, "batches": batches, "batches_done": 0}
        values |= {"moved": stamp(self._now()), **({"total": total} if total is not None else {})}
        return self._set(values, "#state = :open", {"open": "open"})

    def add(self, *, rows: int, done: int) -> None:
        """Say that rows and bytes were restored."""
        moved = {"moved": stamp(self._now())}
        self._table.update(self._database, self._sort, moved, add={"rows": rows, "done": done})

    def settle(self, name: str) -> None:
        """Say that a batch of a restore is done; who says so of the same one later isn't counted."""
        values = {"part": "none", "code": None, "message": None}
        if self._table.update(
            self._database, self._batch(name), values, condition="attribute_not_exists(#part)"
        ):
            moved = {"moved": stamp(self._now())}
            self._table.update(self._database, self._sort, moved, add={"batches_done": 1})

    def keep(self, report: str) -> bool:
        """Keep what is to be told of a restore when it ends.  False if it has."""
        return self._set({"result": report}, "#state = :open", {"open": "open"})

    def conclude(self, result: str) -> bool:
        """Say what came out of a restore that is done.  False if it has ended before."""
        return self._set({"state": "committed", "result": result}, "#state = :open", {"open": "open"})

    def moving(self) -> bool:
        """Say that work goes on.  False if the run has ended."""
        return self._set({"moved": stamp(self._now())}, "#state = :open", {"open": "open"})

    def finish(self, record: BatchRecord) -> BatchRecord:
        """Record a batch that was captured.

        Returns
        -------
        BatchRecord
            What counts: another one, if the same batch was recorded before.
        """
        sort = self._batch(record.name)
        values = {name: value for name, value in asdict(record).items() if value != ""}
        if not self._table.update(self._database, sort, values, condition="attribute_not_exists(#part)"):
            return self.batch(record.name) or record
        counts = {"batches_done": 0 if record.rest else 1, "done": record.size, "rows": record.rows}
        self._table.update(self._database, self._sort, {"moved": stamp(self._now())}, add=counts)
        return record

    def batch(self, name: str) -> BatchRecord | None:
        """A batch that was captured; None if it wasn't yet."""
        item = self._table.get(self._database, self._batch(name))
        return _record(item) if item is not None and "part" in item else None

    def count(self, name: str, what: Literal["attempts", "waits"]) -> int:
        """Count one more attempt at a batch, or one more wait before it; how many there were before."""
        item = self._table.get(self._database, self._batch(name)) or {}
        self._table.update(self._database, self._batch(name), {"name": name}, add={what: 1})
        return int(item.get(what, 0))

    def batches(self) -> Iterator[BatchRecord]:
        """All batches that were captured, in the order of their names."""
        for item in self._table.query(self._database, f"{self._sort}#"):
            if "part" in item:
                yield _record(item)

    def tell(self, code: str, message: str) -> bool:
        """Keep what a holder failed with; the first one counts."""
        condition = "attribute_exists(#state) AND attribute_not_exists(#code)"
        return self._set({"code": code, "message": message}, condition, {})

    def tell_batch(self, name: str, code: str, message: str) -> None:
        """Keep what a worker failed with; the last one counts, unless the batch is captured after all."""
        self._table.update(self._database, self._batch(name), {"code": code, "message": message})

    def fault(self, names: str = "") -> tuple[str, str] | None:
        """(code, message) of what went wrong, if a function could say it before it ended.

        Parameters
        ----------
        names:
            How the names of the batches begin that are looked at.
        """
        run = self.read()
        if run is not None and run.code:
            return run.code, run.message
        for item in self._table.query(self._database, self._batch(names)):
            if "part" not in item and "code" in item:
                return str(item["code"]), str(item["message"])
        return None

    def end(self, before: State, state: State) -> bool:
        """Go from one state to the next.  False if it isn't in that state (any more)."""
        return self._set({"state": state}, "#state = :before", {"before": before})

    def fail(self) -> bool:
        """Nobody needs the snapshot any more.  False if the run has failed, or was committed, before."""
        given = {"open": "open", "released": "released"}
        return self._set({"state": "failed"}, "#state IN (:open, :released)", given)

    def announce(self, tries: int) -> None:
        """Say that everybody was told how so many tries ended."""
        self._set({"told": tries}, "attribute_exists(#state)", {})

    def _set(self, values: dict[str, Any], condition: str, given: dict[str, Any]) -> bool:
        return self._table.update(self._database, self._sort, values, condition=condition, given=given)

    def _batch(self, name: str) -> str:
        return f"{self._sort}#{name}"


def _record(item: dict[str, Any]) -> BatchRecord:
    return BatchRecord(**known_values(BatchRecord, item))
