"""Apply the retention policy to databases: decide, hide manifests, sweep.

An order that can be cut short anywhere: the decision is written to the audit trail, the manifest goes, the
catalogue follows, and only then are chunks and files looked at.  The next rotation finishes what is left.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from coffre.catalogue.index import Catalogue
from coffre.catalogue.rebuild import reconcile
from coffre.databases.registration import Retention
from coffre.errors import CoffreError, DeadlineExceededError
from coffre.ids import backup_time, utc_now
from coffre.notify.publisher import Publisher
from coffre.observability import log
from coffre.results import RotateDecision, RotateReport, RotateResult
from coffre.rotate.inventory import Backup, Horizon, take_inventory
from coffre.rotate.policy import BackupFacts, Decision, decide
from coffre.rotate.sweep import Sweep, freed_bytes
from coffre.vault.evidence import newest_evidence
from coffre.vault.layout import Layout
from coffre.vault.reader import load_manifest
from coffre.vault.store import ObjectStore


@dataclass(frozen=True)
class Services:
    """What a rotation works with.

    Attributes
    ----------
    max_run_seconds:
        Longest that any backup, proof or restore may take.
    now:
        Tells the time.
    """

    store: ObjectStore
    catalogue: Catalogue
    publisher: Publisher
    max_run_seconds: int
    now: Callable[[], datetime] = utc_now


def run(
    databases: Mapping[str, Retention], services: Services, *, dry_run: bool, seconds: float
) -> RotateResult:
    """Rotate databases, one after the other; an error in one doesn't stop the others.

    Parameters
    ----------
    databases:
        The policies by name.
    dry_run:
        Decide and count, and change nothing: the decisions are those of the run.
    seconds:
        How long this may take.  What is not done by then is done by the next rotation.
    """
    deadline = services.now() + timedelta(seconds=seconds)
    reports: list[RotateReport] = []
    failed: dict[str, str] = {}
    for database, retention in databases.items():
        try:
            reports.append(_rotate(database, retention, services, dry_run=dry_run, deadline=deadline))
        except CoffreError as error:
            log("rotation failed", database=database, code=error.code, reason=error.message)
            failed[database] = str(error)
    return RotateResult(reports=reports, failed=failed)


def _rotate(
    database: str, retention: Retention, services: Services, *, dry_run: bool, deadline: datetime
) -> RotateReport:
    if dry_run:
        return _work(database, retention, services, dry_run=True, deadline=deadline)
    with _recorded(database, services, deadline):
        report = _work(database, retention, services, dry_run=False, deadline=deadline)
    services.publisher.publish("Rotation Completed", _detail(report))
    return report


@contextmanager
def _recorded(database: str, services: Services, deadline: datetime) -> Iterator[None]:
    """Keep the run's record.  It takes no lease: two rotations at a time only do the same work twice."""
    run_id = secrets.token_hex(6)
    services.catalogue.start_run(database, "rotate", run_id, deadline)
    try:
        yield
    finally:
        services.catalogue.end_run(database, run_id)


def _work(
    database: str, retention: Retention, services: Services, *, dry_run: bool, deadline: datetime
) -> RotateReport:
    layout, moment = Layout(database), services.now()
    horizon = Horizon.at(moment, timedelta(seconds=services.max_run_seconds), _oldest_run(database, services))
    inventory = take_inventory(services.store, layout, horizon)
    facts = [_facts(services.store, database, backup) for backup in inventory.live]
    decisions = decide(facts, retention, moment)
    doomed = {decision.backup_id for decision in decisions if decision.action == "delete"}
    after = inventory.without(doomed)
    freed = freed_bytes(
        services.store,
        layout,
        after.live,
        [backup for backup in inventory.live if backup.backup_id in doomed],
    )
    if not dry_run:
        _delete(database, decisions, services)
    sweep = Sweep(
        services.store, layout, after, horizon, _deadline_check(database, services, deadline), dry_run
    )
    chunks = sweep.chunks()
    orphans = sweep.files()
    return RotateReport(
        database=database,
        dry_run=dry_run,
        decisions=[
            RotateDecision(
                backup_id=decision.backup_id,
                action=decision.action,
                reasons=list(decision.reasons),
                frees_bytes=freed.get(decision.backup_id, 0),
            )
            for decision in decisions
        ],
        marked_chunks=chunks.marked,
        marked_bytes=chunks.marked_bytes,
        purged_chunks=chunks.purged,
        purged_bytes=chunks.purged_bytes,
        waiting_chunks=chunks.waiting,
        waiting_bytes=chunks.waiting_bytes,
        orphans=orphans,
    )


def _oldest_run(database: str, services: Services) -> datetime | None:
    """When the oldest run started that reads or writes the vault now."""
    started = [
        datetime.fromisoformat(record.started)
        for record in services.catalogue.live_runs(database)
        if record.kind != "rotate"
    ]
    return min(started, default=None)


def _facts(store: ObjectStore, database: str, backup: Backup) -> BackupFacts:
    """What the policy needs to know, from the bucket alone: the catalogue may be incomplete.

    Every manifest is read, so that one which can't be stops the rotation before anything is deleted.
    """
    _, root_hash = load_manifest(store, database, backup.backup_id, version=backup.version)
    evidence = newest_evidence(store, database, backup.backup_id, root_hash)
    verdict = evidence.verdict if evidence else None
    return BackupFacts(backup.backup_id, backup_time(backup.backup_id), verdict, backup.holds)


def _delete(database: str, decisions: list[Decision], services: Services) -> None:
    """Hide the manifests of what is not kept, oldest first: from then on these backups don't exist."""
    for decision in reversed(decisions):
        if decision.action == "delete":
            reasons = "; ".join(decision.reasons)
            services.catalogue.audit(database, "delete", decision.backup_id, {"reasons": reasons})
            services.store.mark_deleted(Layout(database).manifest(decision.backup_id))
            services.catalogue.delete(database, decision.backup_id)
    reconcile(services.store, services.catalogue, database)


def _deadline_check(database: str, services: Services, deadline: datetime) -> Callable[[], None]:
    def check() -> None:
        if services.now() >= deadline:
            raise DeadlineExceededError(
                f"the rotation of {database} came to the end of its time",
                "What it did stays done; the next rotation goes on.",
            )

    return check


def _detail(report: RotateReport) -> dict[str, object]:
    """The report without the reasons, which may not fit into an event."""
    deleted = [decision.backup_id for decision in report.decisions if decision.action == "delete"]
    counts = report.model_dump(mode="json", exclude={"decisions", "dry_run"})
    return {**counts, "kept": len(report.decisions) - len(deleted), "deleted": deleted}
