"""The catalogue: an index over the vault, leases, runs and the audit trail, in DynamoDB.

The bucket is the truth; `coffre.catalogue.rebuild` makes the index again from it.  Every write of a status is
conditional, so that a write which comes late or twice never takes a backup back to an earlier status.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime

from coffre.catalogue.entries import (
    AuditEntry,
    BackupEntry,
    Lease,
    Rate,
    Recheck,
    RehearsalEntry,
    RestoreEntry,
    RunKind,
    RunRecord,
    Status,
    from_item,
)
from coffre.catalogue.ledger import Ledger
from coffre.catalogue.plans import Plans
from coffre.catalogue.table import Table, expiry
from coffre.errors import LeaseHeldError
from coffre.ids import BACKUP_ID, BackupType, stamp, utc_now
from coffre.results import CopyResult, Rehearsal, VerifyResult
from coffre.vault.evidence import evidence_time
from coffre.vault.manifest import Manifest


class Catalogue:
    """The index of one stack.

    Every method may raise CatalogueUnavailableError.

    Parameters
    ----------
    client:
        A boto3 DynamoDB client.
    table:
        The table's name.
    now:
        Tells the time.
    """

    def __init__(self, client: object, table: str, now: Callable[[], datetime] = utc_now) -> None:
        self._table = Table(client, table)
        self._now = now

    # Backups

    def backup(self, database: str, backup_id: str) -> BackupEntry | None:
        """One backup, or None."""
        item = self._table.get(database, f"BACKUP#{backup_id}")
        return from_item(BackupEntry, database, item) if item else None

    def backups(
        self, database: str, *, kind: BackupType | None = None, status: Status | None = None
    ) -> Iterator[BackupEntry]:
        """The backups of a database, newest first."""
        for item in self._table.query(database, "BACKUP#", newest_first=True):
            entry = from_item(BackupEntry, database, item)
            if kind in (None, entry.type) and status in (None, entry.status):
                yield entry

    def begin(
        self, database: str, backup_id: str, kind: BackupType, started: datetime, reason: str = ""
    ) -> bool:
        """A run starts to make this backup.  False if it is completed already."""
        values = {
            "backup_id": backup_id,
            "type": kind,
            "status": "in_progress",
            "reason": reason,
            "started": stamp(started),
            "rows": 0,
            "done": 0,
            "total": 0,
            "error_code": None,
            "error_message": None,
        }
        return self._update(
            database, backup_id, values, "attribute_not_exists(#status) OR #status <> :completed"
        )

    def progress(self, database: str, backup_id: str, *, rows: int, done: int, total: int) -> bool:
        """How far a backup in progress is.  False if it isn't in progress any more."""
        values = {"rows": rows, "done": done, "total": total, "heartbeat": stamp(self._now())}
        return self._update(database, backup_id, values, "#status = :in_progress")

    def complete(self, manifest: Manifest, root_hash: str, *, unlike: str = "") -> bool:
        """The backup's manifest exists.  False if this very backup has been deleted since.

        What a verification recorded stays, if it was about the same root hash.

        Parameters
        ----------
        unlike:
            How it differs from the backup before it (`coffre.vault.likeness`); empty: nothing is said.
        """
        totals = manifest.totals
        values = {
            "backup_id": manifest.id,
            "type": manifest.type,
            "status": "completed",
            "started": manifest.started,
            "completed": manifest.completed,
            "bytes": totals.bytes,
            "stored_bytes": totals.stored_bytes,
            "new_bytes": totals.new_bytes,
            "chunks": totals.chunks,
            "new_chunks": totals.new_chunks,
            "done": 0,
            "total": 0,
            "deleted": None,
            "error_code": None,
            "error_message": None,
            "root_hash": root_hash,
            "seal": manifest.seal.model_dump_json(by_alias=True) if manifest.seal else None,
            **({"unlike": unlike} if unlike else {}),
        }
        if not manifest.is_closed:
            values |= {"reason": manifest.reason, "rows": totals.rows, "relations": totals.relations}
        unverified: dict[str, object] = dict.fromkeys(
            (
                "verdict",
                "verified",
                "evidence",
                "reasons",
                "copy",
                "copy_by",
                "copy_checked",
                "copy_summary",
                "copy_evidence",
                "copy_bucket",
            )
        )
        alive = "(attribute_not_exists(#deleted) OR #deleted < :committed)"
        given = {"committed": manifest.completed, "hash": root_hash}
        same = f"#root_hash = :hash AND {alive}"
        database = manifest.database
        if self._update(database, manifest.id, values, same, given):
            return True
        other = f"(attribute_not_exists(#root_hash) OR #root_hash <> :hash) AND {alive}"
        return self._update(database, manifest.id, {**values, **unverified}, other, given)

    def verdict(self, result: VerifyResult) -> bool:
        """What a verification found.  False if a newer one, or another backup under this id, is recorded."""
        time = evidence_time(result.evidence)
        values = {
            "verdict": result.verdict,
            "verified": time,
            "evidence": result.evidence,
            "reasons": [reason.model_dump() for reason in result.reasons],
        }
        given = {"hash": result.root_hash, "time": time}
        condition = "#root_hash = :hash AND (attribute_not_exists(#verified) OR #verified <= :time)"
        return self._update(result.database, result.backup_id, values, condition, given)

    def copied(self, result: CopyResult) -> bool:
        """What a check of the copy found.  False if another backup under this id is recorded, or none."""
        values = {"copy": result.verdict, "copy_by": result.by, "copy_summary": result.summary}
        values |= {"copy_checked": result.checked, "copy_bucket": result.bucket}
        values |= {"copy_evidence": result.evidence} if result.evidence else {}
        condition = "#root_hash = :hash AND (attribute_not_exists(#copy_checked) OR #copy_checked <= :time)"
        given = {"hash": result.root_hash, "time": result.checked}
        return self._update(result.database, result.backup_id, values, condition, given)

    def fail(self, database: str, backup_id: str, code: str, message: str) -> bool:
        """The run that made this backup failed.  False if the backup exists (or existed) all the same."""
        match = BACKUP_ID.match(backup_id)
        values = {
            "backup_id": backup_id,
            "type": match[2] if match else "manual",
            "status": "failed",
            "error_code": code,
            "error_message": message,
        }
        condition = "attribute_not_exists(#status) OR NOT (#status IN (:completed, :deleted))"
        return self._update(database, backup_id, values, condition)

    def delete(self, database: str, backup_id: str) -> bool:
        """The backup's manifest was deleted.  False if the catalogue doesn't know the backup."""
        values = {"status": "deleted", "deleted": stamp(self._now())}
        return self._update(database, backup_id, values, "attribute_exists(#status)")

    def undelete(self, database: str, backup_id: str) -> bool:
        """The backup's manifest comes back.  False if the catalogue doesn't call the backup deleted."""
        values = {"status": "completed", "deleted": None}
        return self._update(database, backup_id, values, "#status = :deleted")

    def _update(
        self,
        database: str,
        backup_id: str,
        values: Mapping[str, object],
        condition: str,
        given: Mapping[str, str] | None = None,
    ) -> bool:
        statuses = {name: name for name in ("in_progress", "completed", "deleted") if f":{name}" in condition}
        return self._table.update(
            database, f"BACKUP#{backup_id}", values, condition=condition, given={**statuses, **(given or {})}
        )

    # Leases

    def acquire(self, database: str, holder: str, deadline: datetime) -> Lease:
        """Take the database's lease; a holder that has it already gets it again.

        Raises
        ------
        LeaseHeldError
            Naming who holds it, and until when.
        """
        lease = Lease(database, holder, stamp(deadline))
        taken = self._table.update(
            database,
            "LEASE",
            {"holder": holder, "deadline": lease.deadline},
            condition="attribute_not_exists(#holder) OR #holder = :holder OR #deadline <= :now",
            given={"holder": holder, "now": stamp(self._now())},
        )
        if not taken:
            item = self._table.get(database, "LEASE") or {}
            raise LeaseHeldError(
                f"run {item.get('holder', 'unknown')} works on {database} until {item.get('deadline', 'now')}"
            )
        return lease

    def release(self, database: str, holder: str) -> bool:
        """Let the lease expire.  False if somebody else has it by now."""
        values = {"deadline": stamp(datetime.fromtimestamp(0, UTC))}
        return self._table.update(
            database, "LEASE", values, condition="#holder = :holder", given={"holder": holder}
        )

    def lease(self, database: str) -> Lease | None:
        """Who works on the database now; None if nobody does."""
        last = self.last_lease(database)
        return last if last is not None and last.deadline > stamp(self._now()) else None

    def last_lease(self, database: str) -> Lease | None:
        """Who works on the database now, or did so last; None if nobody ever did."""
        item = self._table.get(database, "LEASE")
        return from_item(Lease, database, item) if item is not None else None

    def ledger(self, database: str, attempt: str) -> Ledger:
        """The progress of one attempt at a backup on the state machine."""
        return Ledger(self._table, database, attempt, self._now)

    # Runs

    def start_run(
        self, database: str, kind: RunKind, run_id: str, deadline: datetime, backup_id: str | None = None
    ) -> RunRecord:
        """Record a run, before it uses anything in the vault; ``backup_id`` is the backup that it reads."""
        record = RunRecord(
            database,
            run_id,
            kind,
            stamp(self._now()),
            stamp(deadline),
            backup_id,
            expires_at=expiry(deadline),
        )
        values = {"run_id": run_id, "kind": kind, "started": record.started, "deadline": record.deadline}
        values |= {"backup_id": backup_id} if backup_id else {}
        self._table.put(database, f"RUN#{run_id}", {**values, "expires_at": record.expires_at})
        return record

    def run_progress(self, database: str, run_id: str, *, rows: int, done: int, total: int) -> bool:
        """How far a run is; see `RunRecord`."""
        values = {"rows": rows, "done": done, "total": total}
        return self._table.update(database, f"RUN#{run_id}", values, condition="attribute_exists(#run_id)")

    def end_run(self, database: str, run_id: str) -> bool:
        """The run ended, well or not.  False if no such run is recorded."""
        values = {"ended": stamp(self._now())}
        return self._table.update(database, f"RUN#{run_id}", values, condition="attribute_exists(#run_id)")

    def live_runs(self, database: str) -> Iterator[RunRecord]:
        """The runs that have neither ended nor reached their deadline."""
        now = stamp(self._now())
        for item in self._table.query(database, "RUN#"):
            record = from_item(RunRecord, database, item)
            if record.ended is None and record.deadline > now:
                yield record

    # Reading again

    def recheck(self, database: str) -> Recheck | None:
        """The present round of reading chunks again; None before the first one."""
        item = self._table.get(database, "RECHECK")
        return from_item(Recheck, database, item) if item else None

    def record_recheck(self, state: Recheck) -> None:
        """Remember how far the round is."""
        self._table.put(state.database, "RECHECK", {"next": state.next, "started": state.started})

    # Rates

    def rate(self, database: str) -> Rate | None:
        """How fast the rows were read the last time; None before the first backup that took seconds."""
        item = self._table.get(database, "RATE")
        return from_item(Rate, database, item) if item else None

    def record_rate(self, rate: Rate) -> None:
        """Remember how fast the rows were read."""
        values = {"bytes_per_second": rate.bytes_per_second, "stored_permille": rate.stored_permille}
        self._table.put(rate.database, "RATE", {**values, "measured": rate.measured})

    # Audit trail

    def audit(
        self, database: str, action: str, subject: str, details: Mapping[str, str] | None = None
    ) -> None:
        """Record that something is done, to what, and why; before it is done."""
        time = stamp(self._now())
        values = {"time": time, "action": action, "subject": subject, "details": dict(details or {})}
        self._table.put(database, f"AUDIT#{time}#{secrets.token_hex(4)}", values)

    def audits(self, database: str) -> Iterator[AuditEntry]:
        """The audit trail, newest first."""
        for item in self._table.query(database, "AUDIT#", newest_first=True):
            yield from_item(AuditEntry, database, item)

    # Restores

    def plans(self, database: str) -> Plans:
        """The plans that wait for their confirmation."""
        return Plans(self._table, database, self._now)

    def record_restore(self, entry: RestoreEntry) -> None:
        """Keep what a restore, an undo or a proof did, and how long it took."""
        values = {name: value for name, value in asdict(entry).items() if name != "database"}
        known = {name: value for name, value in values.items() if value is not None}
        self._table.put(entry.database, f"RESTORE#{entry.time}#{secrets.token_hex(4)}", known)

    def restores(self, database: str) -> Iterator[RestoreEntry]:
        """What `record_restore` kept, newest first."""
        for item in self._table.query(database, "RESTORE#", newest_first=True):
            yield from_item(RestoreEntry, database, item)

    # Rehearsals of upgrades

    def record_rehearsal(self, found: Rehearsal) -> bool:
        """Keep what a rehearsal found, with its reasons.  False if it is recorded already."""
        upgrade = found.upgrade
        values = {
            "time": upgrade.rehearsed,
            "backup_id": found.backup_id,
            "root_hash": found.root_hash,
            "from_version": upgrade.from_version,
            "major": upgrade.major,
            "verdict": upgrade.verdict,
            "evidence": upgrade.evidence,
            "reasons": [reason.model_dump() for reason in upgrade.reasons],
        }
        sort = f"UPGRADE#{upgrade.rehearsed}#{found.backup_id}"
        return self._table.update(found.database, sort, values, condition="attribute_not_exists(#time)")

    def rehearsals(self, database: str) -> Iterator[RehearsalEntry]:
        """What `record_rehearsal` kept, newest first."""
        for item in self._table.query(database, "UPGRADE#", newest_first=True):
            yield from_item(RehearsalEntry, database, item)
