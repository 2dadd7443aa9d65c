"""Which recovery objectives are really met, by the backups and restores that there were.

The RPO says how much work may be lost, the RTO how long a restore may take.  Both are judged by what
happened, never by what a schedule promises.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from statistics import fmean, median

from coffre.catalogue.entries import NEWEST_RESTORES, BackupEntry, RestoreEntry
from coffre.catalogue.index import Catalogue
from coffre.databases.registration import Registration
from coffre.ids import stamp
from coffre.results import ObjectivesReport

FITTED = 100
"""The newest restores that a curve is fitted to: older ones say little about today's servers."""


@dataclass(frozen=True)
class Usable:
    """A backup: the instant that it shows, from when on it could be used, and until when, if it is gone."""

    taken: datetime
    ready: datetime
    gone: datetime | None = None


@dataclass(frozen=True)
class Curve:
    """Seconds of a restore as a straight line over bytes of rows.

    Attributes
    ----------
    base, per_byte:
        Seconds of an empty database, and of each byte more.
    measured:
        How many restores it was fitted to.
    worst:
        What the slowest of them took, as a multiple of what the line says; 1 at least.
    """

    base: float
    per_byte: float
    measured: int
    worst: float

    def seconds(self, size: int) -> float:
        """What a restore of ``size`` bytes takes, as slow as the slowest that was measured."""
        return (self.base + self.per_byte * size) * self.worst


def report(
    database: str, registration: Registration, catalogue: Catalogue, *, days: int, now: datetime
) -> ObjectivesReport:
    """Which objectives were met in the ``days`` before ``now``.

    Raises
    ------
    CatalogueUnavailableError
    """
    since, until = now - timedelta(days=days), stamp(now)
    made = [
        entry
        for entry in catalogue.backups(database)
        if entry.status in ("completed", "deleted") and (entry.completed or "") <= until
    ]
    newest = next((entry for entry in made if (entry.deleted or "9") > until), None)
    before = (entry for entry in catalogue.restores(database) if entry.time <= until)
    curve = fit(islice(before, NEWEST_RESTORES))
    return ObjectivesReport(
        database=database,
        days=days,
        rpo_hours=registration.rpo_hours,
        exposure_seconds=longest_exposure(usable(made, proven=False), since, now),
        proven_exposure_seconds=longest_exposure(usable(made, proven=True), since, now),
        rto_minutes=registration.rto_minutes,
        restore_seconds=round(curve.seconds(newest.bytes), 1) if curve and newest else None,
        restore_base_seconds=round(curve.base, 3) if curve else None,
        restore_bytes_per_second=round(1 / curve.per_byte) if curve and curve.per_byte else None,
        restores_measured=curve.measured if curve else 0,
    )


def restore_seconds(backup: BackupEntry, catalogue: Catalogue) -> float | None:
    """What a restore of this backup takes, by those that were measured; None if none was."""
    curve = fit(islice(catalogue.restores(backup.database), NEWEST_RESTORES))
    return round(curve.seconds(backup.bytes), 1) if curve else None


def usable(backups: Iterable[BackupEntry], *, proven: bool) -> list[Usable]:
    """The backups that a restore could have used, in the order in which they became usable.

    Parameters
    ----------
    proven:
        Only those whose verdict is ``proven``, from then on.
    """
    found = []
    for entry in backups:
        ready = entry.verified if proven else entry.completed
        if entry.started and ready and (entry.verdict == "proven" or not proven):
            gone = datetime.fromisoformat(entry.deleted) if entry.deleted else None
            taken, since = datetime.fromisoformat(entry.started), datetime.fromisoformat(ready)
            found.append(Usable(taken, since, gone))
    return sorted(found, key=lambda backup: backup.ready)


def longest_exposure(backups: Sequence[Usable], since: datetime, now: datetime) -> float | None:
    """The most work, in seconds, that a disaster at any moment from ``since`` to ``now`` would have cost.

    The loss grows from a backup's instant until a newer one is usable, so it is greatest just before.

    Parameters
    ----------
    backups:
        From `usable`.

    Returns
    -------
    float or None
        None if no backup is usable at ``now``.  Moments before the very first one don't count: there was
        nothing to lose it from yet.  That rotation deletes those that newer ones replace costs nothing.
    """
    left = [one.taken for one in backups if one.ready <= now and (one.gone is None or one.gone > now)]
    losses: list[float] = []
    newest: datetime | None = None
    for backup in backups:
        if backup.ready > now:
            break
        if newest is not None and backup.ready > since:
            losses.append((backup.ready - newest).total_seconds())
        newest = max(newest, backup.taken) if newest else backup.taken
    return max([*losses, (now - max(left)).total_seconds()]) if left else None


def fit(restores: Iterable[RestoreEntry]) -> Curve | None:
    """The line through the restores that were measured; None if there was none.

    Proofs restore into another machine: they count only where nothing else was measured.
    """
    done = [entry for entry in restores if entry.status == "completed" and entry.milliseconds > 0]
    real = [entry for entry in done if entry.kind in ("new", "swap", "drill")]
    used = (real or [entry for entry in done if entry.kind == "proof"])[:FITTED]
    if not used:
        return None
    points = [(entry.bytes, entry.milliseconds / 1000) for entry in used]
    base, per_byte = _line(points)
    said = [(seconds, base + per_byte * size) for size, seconds in points]
    worst = max([1.0, *(seconds / line for seconds, line in said if line > 0)])
    return Curve(base, per_byte, len(points), worst)


def _line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Least squares, with neither part below zero: no restore takes less for more."""
    sizes, times = [float(size) for size, _ in points], [seconds for _, seconds in points]
    x, y = fmean(sizes), fmean(times)
    spread = sum((size - x) ** 2 for size in sizes)
    if spread == 0:
        # One size says nothing about the slope; to the origin is the cautious guess for larger ones.
        return (0.0, median(times) / x) if x else (median(times), 0.0)
    slope = sum((size - x) * (seconds - y) for size, seconds in zip(sizes, times, strict=True)) / spread
    if slope < 0:
        return y, 0.0
    base = y - slope * x
    if base < 0:
        squares = sum(size * size for size in sizes)
        return 0.0, sum(size * seconds for size, seconds in zip(sizes, times, strict=True)) / squares
    return base, slope
