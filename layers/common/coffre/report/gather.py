"""Put a month's report together from what was recorded: nothing in it is measured for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from statistics import mean
from typing import TypeVar

from coffre.catalogue.entries import AuditEntry, RehearsalEntry, RestoreEntry
from coffre.catalogue.objectives import report as objectives
from coffre.databases.registration import Registration
from coffre.ids import backup_time, stamp
from coffre.prices import load_prices
from coffre.report.backups import Backups, read_backups
from coffre.report.hidden import shown
from coffre.report.job import Services
from coffre.report.month import Month
from coffre.report.scores import DayScore
from coffre.results import (
    MonthlyReport,
    ReportedCost,
    ReportedDay,
    ReportedRehearsal,
    ReportedRestore,
    ReportedVault,
)
from coffre.vault.layout import Layout

MAX_RESTORES = 100
GB = 1e9

T = TypeVar("T", RestoreEntry, RehearsalEntry, AuditEntry)


def gather(
    database: str,
    registration: Registration,
    month: Month,
    services: Services,
    *,
    before: MonthlyReport | None,
) -> MonthlyReport:
    """The report on one database's month, or on as much of it as there was.

    Parameters
    ----------
    before:
        The month before, if a report was written on it: growth is told against it.

    Raises
    ------
    CatalogueUnavailableError, StoreUnavailableError, MetricsUnavailableError
    """
    now = services.now()
    until = min(month.ends, now)
    backups = read_backups(services.catalogue.backups(database), month, until)
    scores = services.scores.daily(database, month.begins, until)
    asked = {day for day in month.days if day < until.date()} | scores.keys()
    whole = len(scores) == len(asked)
    restores = _between(services.catalogue.restores(database), month.begins, until)
    listed = _listed(restores)
    audits = _between(services.catalogue.audits(database), month.begins, until)
    deleted = list(_deletions(audits))
    rehearsals = _between(services.catalogue.rehearsals(database), month.begins, until)
    days = (until - month.begins).days or 1
    met = objectives(database, registration, services.catalogue, days=days, now=until)
    vault = _vault(database, services, now)
    recheck = services.catalogue.recheck(database)
    verdicts = Counter(entry.verdict for entry in backups.completed)
    sizes = [entry.bytes for entry in backups.completed]
    return MonthlyReport(
        stack=services.stack,
        database=database,
        month=str(month),
        begins=stamp(month.begins),
        ends=stamp(until),
        written=stamp(now),
        complete=now >= month.ends,
        taken=len(backups.completed),
        failed=len(backups.failed),
        by_type=dict(Counter(entry.type for entry in backups.completed)),
        proven=verdicts["proven"],
        refuted=verdicts["failed"],
        inconclusive=verdicts["inconclusive"],
        unverified=verdicts[None],
        sampled=sum(bool(entry.sampled) for entry in backups.completed),
        newest_backup=backups.newest,
        newest_proof=backups.newest_proof,
        size_first=sizes[0] if sizes else None,
        size_last=sizes[-1] if sizes else None,
        copied_bytes=sum(sizes),
        new_bytes=sum(entry.new_bytes for entry in backups.completed),
        rotated=len(deleted),
        freed_bytes=sum(int(entry.details.get("frees_bytes", "0")) for entry in deleted),
        restores=[_restore(entry) for entry in listed],
        restores_left_out=len(restores) - len(listed),
        proofs=sum(entry.kind == "proof" for entry in restores),
        rehearsals=[_rehearsal(entry, registration) for entry in rehearsals[:MAX_RESTORES]],
        verdict=met.verdict,
        objectives=met,
        vault=vault,
        vault_before=before.vault if before else None,
        recheck_slices=recheck.next if recheck else None,
        recheck_started=recheck.started if recheck else None,
        damage=shown(backups.damage, registration, database),
        exceptions=shown(backups.exceptions, registration, database),
        lowest_score=min((score.lowest for score in scores.values()), default=None),
        mean_score=mean([score.mean for score in scores.values()]) if scores and whole else None,
        scored_days=len(scores),
        scored_of=len(asked),
        cost=_cost(vault.bytes),
        days=[_day(day, backups, scores) for day in month.days],
    )


def _between(entries: Iterable[T], begins: datetime, until: datetime) -> list[T]:
    """Those of a time, out of entries that come newest first: what is older isn't read."""
    found: list[T] = []
    for entry in entries:
        if entry.time < stamp(begins):
            break
        if entry.time < stamp(until):
            found.append(entry)
    return found


def _listed(restores: Iterable[RestoreEntry]) -> list[RestoreEntry]:
    """The newest restores, and as many proofs: these come with each backup, and shall crowd nothing out."""
    found: list[RestoreEntry] = []
    room = {True: MAX_RESTORES, False: MAX_RESTORES}
    for entry in restores:
        is_proof = entry.kind == "proof"
        if room[is_proof]:
            room[is_proof] -= 1
            found.append(entry)
    return found


def _deletions(audits: Iterable[AuditEntry]) -> Iterator[AuditEntry]:
    """The deletions that no hold has taken back, out of entries that come newest first."""
    kept: set[str] = set()
    for entry in audits:
        if entry.action == "keep":
            kept.add(entry.subject)
        elif entry.action == "delete" and entry.subject not in kept:
            yield entry
        elif entry.action == "delete":
            kept.remove(entry.subject)


def _restore(entry: RestoreEntry) -> ReportedRestore:
    return ReportedRestore(
        time=entry.time,
        kind=entry.kind,
        status=entry.status,
        backup_id=entry.backup_id,
        bytes=entry.bytes,
        seconds=entry.milliseconds / 1000,
        exceptions=entry.exceptions,
        error_code=entry.error_code,
    )


def _rehearsal(entry: RehearsalEntry, registration: Registration) -> ReportedRehearsal:
    found = [reason for reason in entry.reasons if reason.level != "info"]
    gravest = sorted(found, key=lambda reason: reason.level != "refuse")[:1]
    return ReportedRehearsal(
        time=entry.time,
        backup_id=entry.backup_id,
        from_version=entry.from_version,
        major=entry.major,
        verdict=entry.verdict,
        findings=len(found),
        first=next(iter(shown(gravest, registration, entry.database)), None),
        evidence=entry.evidence,
    )


def _vault(database: str, services: Services, now: datetime) -> ReportedVault:
    """How many objects there are and what they hold, counted as they are listed."""
    objects = held = 0
    for item in services.store.objects(Layout(database).everything):
        objects += 1
        held += item.size
    return ReportedVault(at=stamp(now), objects=objects, bytes=held)


def _cost(held: int) -> ReportedCost:
    prices = load_prices()
    return ReportedCost(
        dollars_per_month=round(held / GB * prices.s3_gb_month, 4),
        dollars_per_gb_month=prices.s3_gb_month,
        region=prices.region,
        as_of=prices.as_of,
    )


def _day(day: date, backups: Backups, scores: Mapping[date, DayScore]) -> ReportedDay:
    taken = [entry for entry in backups.completed if backup_time(entry.backup_id).date() == day]
    verdicts = Counter(entry.verdict for entry in taken)
    score = scores.get(day)
    return ReportedDay(
        date=day.isoformat(),
        taken=len(taken),
        failed=sum(backup_time(entry.backup_id).date() == day for entry in backups.failed),
        proven=verdicts["proven"],
        refuted=verdicts["failed"],
        inconclusive=verdicts["inconclusive"],
        bytes=taken[-1].bytes if taken else None,
        new_bytes=sum(entry.new_bytes for entry in taken),
        lowest_score=score.lowest if score else None,
        mean_score=score.mean if score else None,
    )
