"""Apply the retention policy to databases: decide, hide manifests, sweep.

An order that can be cut short anywhere: damaged chunks are put aside, locks made longer, the decision is
written to the audit trail, the manifest goes, the catalogue follows, and only then are chunks and files
looked at.  The next rotation finishes what is left.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from coffre.catalogue.entries import RunRecord
from coffre.catalogue.index import Catalogue
from coffre.databases.registration import Retention
from coffre.errors import CoffreError, DeadlineExceededError
from coffre.ids import in_turn, stamp, utc_now
from coffre.notify.publisher import Publisher
from coffre.observability import log
from coffre.results import RotateDecision, RotateReport, RotateResult
from coffre.rotate.examine import examine
from coffre.rotate.inventory import Horizon, take_inventory
from coffre.rotate.manifests import bring_back, held_but_hidden, hide
from coffre.rotate.policy import Decision, decide
from coffre.rotate.promote import promote, promotions
from coffre.rotate.quarantine import Suspects, put_aside, users_of
from coffre.rotate.sweep import Sweep, freed_bytes
from coffre.vault.evidence import doubted
from coffre.vault.layout import Layout
from coffre.vault.safeguards import require_versions
from coffre.vault.store import ObjectStore

READING_SHARE = 0.5
"""Of a rotation's time, for reading damaged chunks again: what it finds has to be put aside as well."""


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
    """Rotate databases, one after the other by turns; an error in one doesn't stop the others.

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
    for database in in_turn(databases, services.now()):
        retention = databases[database]
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
    store, layout, moment = services.store, Layout(database), services.now()
    check = _deadline_check(database, services, deadline)
    require_versions(store)  # marks would be deletions
    runs = [record for record in services.catalogue.live_runs(database) if record.kind != "rotate"]
    horizon = Horizon.at(moment, timedelta(seconds=services.max_run_seconds), _oldest(runs))
    inventory, rule = take_inventory(store, layout, horizon), store.lock_rule()
    returning = held_but_hidden(store, layout, inventory.hidden, moment)
    inventory = inventory.with_live(returning)
    reading_ends = moment + READING_SHARE * (deadline - moment)
    suspects = Suspects(store, layout, lambda: services.now() < reading_ends)
    suspects.read_notes(inventory.damage)
    examined = examine(store, layout, inventory.live, runs, suspects, moment, has_locks=rule is not None)
    damaged = suspects.damaged
    doubtful = {
        backup_id: chunks
        for backup_id, chunks in users_of(store, layout, damaged, inventory.live).items()
        if backup_id in examined.proofs
    }
    facts = examined.without_proofs(doubtful)
    decisions = decide(facts, retention, moment)
    doomed = _doomed(decisions)
    kept = [fact for fact in facts if fact.backup_id not in doomed]
    extensions = promotions(kept, retention, rule, moment) if rule is not None else []
    gone = [backup for backup in inventory.live if backup.backup_id in doomed]
    freed = freed_bytes(store, layout, inventory.without(doomed).live, gone)
    if not dry_run:
        for backup, holds in returning.items():
            bring_back(store, services.catalogue, layout, backup.backup_id, holds)
        put_aside(store, layout, damaged, doubtful, examined.proofs, moment)
        lost = (doubted(examined.proofs[backup_id]) for backup_id in doubtful)
        for result in (*examined.doubts, *lost):  # an earlier rotation may have died before it said so
            services.catalogue.verdict(result)
        for extension in extensions:
            promote(store, layout, extension, check)
        decisions = hide(store, services.catalogue, layout, decisions, freed, moment)
    doomed = _doomed(decisions)
    sweep = Sweep(
        store,
        layout,
        inventory.without(doomed),
        horizon,
        check,
        dry_run,
        damaged,
        has_locks=rule is not None,
    )
    chunks = sweep.chunks()
    files, orphans = sweep.files()
    locked = {fact.backup_id: fact.locked for fact in facts if fact.locked and fact.locked > moment}
    ends = [end for end in (chunks.locked_until, files.locked_until) if end is not None]
    return RotateReport(
        database=database,
        dry_run=dry_run,
        decisions=[
            RotateDecision(
                backup_id=decision.backup_id,
                action=decision.action,
                reasons=list(decision.reasons),
                frees_bytes=freed[decision.backup_id] if decision.backup_id in doomed else 0,
                locked_until=_stamp(locked.get(decision.backup_id)),
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
        immutable=rule.mode if rule is not None else None,
        locked_objects=chunks.locked + files.locked,
        locked_bytes=chunks.locked_bytes + files.locked_bytes,
        locked_until=_stamp(max(ends, default=None)),
        extended=[extension.backup_id for extension in extensions],
        quarantined_chunks=len(damaged),
        doubted=sorted(doubtful),
    )


def _stamp(moment: datetime | None) -> str | None:
    return stamp(moment) if moment is not None else None


def _oldest(runs: Iterable[RunRecord]) -> datetime | None:
    """When the oldest of the runs started that read or write the vault now."""
    return min((datetime.fromisoformat(record.started) for record in runs), default=None)


def _doomed(decisions: Iterable[Decision]) -> set[str]:
    return {decision.backup_id for decision in decisions if decision.action == "delete"}


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
