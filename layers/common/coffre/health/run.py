"""Report on databases: what their servers say, how old the newest backup and proof are, and a score."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime

from coffre.catalogue.entries import BackupEntry
from coffre.catalogue.index import Catalogue
from coffre.catalogue.objectives import restore_seconds
from coffre.catalogue.standing import read_standing
from coffre.databases.endpoints import LONGEST_SECONDS
from coffre.databases.registration import Registration
from coffre.databases.registry import Registry
from coffre.errors import (
    CoffreError,
    ConnectionLostError,
    DeadlineExceededError,
    InvalidRegistrationError,
)
from coffre.events.health import HealthRequest
from coffre.health.application import Application, ask_applications
from coffre.health.examine import examine
from coffre.health.metrics import emit_alarm_test, emit_database, emit_worst
from coffre.health.score import Facts, ServerFacts, score
from coffre.health.seals import SealProbe
from coffre.ids import backup_time, utc_now
from coffre.notify.publisher import Publisher
from coffre.observability import log
from coffre.results import Finding, HealthReport, HealthResult
from coffre.vault.keys import SealKeys

AT_ONCE = 8
"""Servers that are examined at the same time: a server that hangs holds up nobody but itself."""
ENDPOINT_SECONDS = LONGEST_SECONDS + 5
"""How long all endpoints of all databases may take together."""
REPORT_SECONDS = 15.0
"""Kept back of the run's time for the catalogue, metrics and events."""

_SILENT = "Look at the server's load and at the network between; the next report asks again."


@dataclass(frozen=True)
class Services:
    """What a report works with.

    Attributes
    ----------
    stack:
        The stack's name, a dimension of the metrics.
    rpo_hours:
        The RPO of a database whose registration can't be read.
    copy_bucket:
        Of the second vault, that this one is replicated into; empty: there is none.
    now:
        Tells the time.
    """

    registry: Registry
    keys: SealKeys
    catalogue: Catalogue
    publisher: Publisher
    stack: str
    rpo_hours: float
    copy_bucket: str = ""
    now: Callable[[], datetime] = utc_now


def run(request: HealthRequest, services: Services, *, seconds: float) -> HealthResult:
    """Report on one database or on all, print their metrics and publish an event for each.

    What is wrong with a database stands in its report.  The worst of all is only known, and printed, when all
    are reported on.

    Parameters
    ----------
    seconds:
        How long this may take.  A server that hasn't answered by then is reported as unreachable.

    Raises
    ------
    UnknownDatabaseError
        If the request names a database that isn't registered.
    CatalogueUnavailableError, EventNotPublishedError
    """
    ends = time.monotonic() + seconds - REPORT_SECONDS
    names = [request.database] if request.database else services.registry.names()
    registered = {name: _registration(name, services.registry) for name in names}
    applications = ask_applications(registered, seconds=min(ENDPOINT_SECONDS, seconds / 4))
    said = _ask_all(registered, services.registry, ends - time.monotonic())
    probe = SealProbe(services.keys)
    reports = [
        _report(name, registered[name], said[name], applications[name], probe, services) for name in names
    ]
    for report in reports:
        emit_database(report, services.stack)
    if request.database is None:
        emit_worst(reports, services.stack)
        emit_alarm_test(services.stack, services.now())
    for report in reports:
        services.publisher.publish("Health Reported", report.model_dump(mode="json"))
    return HealthResult(databases=reports)


def _registration(name: str, registry: Registry) -> Registration | Finding:
    try:
        return registry.get(name)
    except InvalidRegistrationError as error:
        return _finding(error, name)


def _ask_all(
    registered: Mapping[str, Registration | Finding], registry: Registry, seconds: float
) -> dict[str, ServerFacts | Finding]:
    """What each server says, or why it says nothing."""
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="health")
    asked = {name: pool.submit(_ask, name, entry, registry) for name, entry in registered.items()}
    wait(asked.values(), timeout=max(0.0, seconds))
    pool.shutdown(wait=False, cancel_futures=True)
    return {name: _answer(name, future) for name, future in asked.items()}


def _ask(name: str, registration: Registration | Finding, registry: Registry) -> ServerFacts | Finding:
    if isinstance(registration, Finding):
        return registration
    try:
        return examine(registry.target(registration), registration.critical_tables)
    except CoffreError as error:
        return _finding(error, name)


def _answer(name: str, asked: Future[ServerFacts | Finding]) -> ServerFacts | Finding:
    if asked.done() and not asked.cancelled():
        return asked.result()
    return _finding(DeadlineExceededError(f"{name} gave no answer in the time of this report"), name)


def _report(
    name: str,
    registration: Registration | Finding,
    said: ServerFacts | Finding,
    application: Application,
    probe: SealProbe,
    services: Services,
) -> HealthReport:
    stand = read_standing(services.catalogue.backups(name, status="completed"), services.copy_bucket)
    backup, proven, sampled, copied = stand.usable, stand.proven, stand.sampled, stand.copied
    failed = stand.judged if stand.judged is not None and stand.judged.verdict == "failed" else None
    known = registration if isinstance(registration, Registration) else None
    facts = Facts(
        database=name,
        server=said,
        backup_age=_age(backup, services.now()),
        proof_age=_age(proven, services.now()),
        sample_age=_age(sampled, services.now()),
        sample=sampled.sampled if sampled else "",
        rpo_hours=known.rpo_hours if known else services.rpo_hours,
        prove=known.prove if known else "every",
        restore_seconds=restore_seconds(backup, services.catalogue) if backup else None,
        rto_minutes=known.rto_minutes if known else None,
        endpoints=application.findings,
        unlike=stand.newest.unlike if stand.newest else "",
        failed=failed.backup_id if failed else "",
        failure=failed.failure if failed else "",
        failed_before=stand.failed - (1 if failed else 0),
        copied=bool(services.copy_bucket),
        copy_age=_age(copied, services.now()),
        seals=probe.locked(stand.seals),
    )
    points, reasons = score(facts)
    server = said if isinstance(said, ServerFacts) else None
    log("health", database=name, score=points, reasons=[reason.code for reason in reasons])
    return HealthReport(
        database=name,
        score=points,
        reasons=reasons,
        reachable=server is not None,
        server_version=server.version if server else "",
        size_bytes=server.size_bytes if server else None,
        tables=server.tables if server else None,
        newest_backup=backup.backup_id if backup else None,
        backup_age_seconds=facts.backup_age,
        newest_proof=proven.backup_id if proven else None,
        proof_age_seconds=facts.proof_age,
        newest_sample=sampled.backup_id if sampled else None,
        sample_age_seconds=facts.sample_age,
        copied=bool(services.copy_bucket),
        newest_copy=copied.backup_id if copied else None,
        copy_age_seconds=facts.copy_age,
        rpo_hours=facts.rpo_hours,
        proof_hours=facts.proof_hours,
        restore_seconds=facts.restore_seconds,
        rto_minutes=facts.rto_minutes,
        endpoints=list(application.answers),
    )


def _age(backup: BackupEntry | None, now: datetime) -> float | None:
    """Seconds since a backup began: what was written since then is not in it."""
    if backup is None:
        return None
    began = datetime.fromisoformat(backup.started) if backup.started else backup_time(backup.backup_id)
    return max(0.0, (now - began).total_seconds())


def _finding(error: CoffreError, name: str) -> Finding:
    advice = _SILENT if isinstance(error, ConnectionLostError | DeadlineExceededError) else error.hint
    return Finding(level="refuse", code=error.code, object=name, message=error.message, advice=advice)
