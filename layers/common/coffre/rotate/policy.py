"""Which backups to keep, and why: a pure function of the backups, the policy and the time.

Tiers are computed from the backups' times, as restic does; a type is a label and decides nothing, so a
daily backup becomes a weekly or a monthly one without being taken again.  Tiers count periods that have a
backup, or days before the newest backup, never days that pass: if no backup arrives any more, none is deleted
any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from coffre.databases.registration import TIERS, Retention, Tier
from coffre.events.base import Verdict
from coffre.ids import BACKUP_ID


@dataclass(frozen=True)
class BackupFacts:
    """What the policy knows of a backup.

    Attributes
    ----------
    time:
        The time in its id, with its zone.
    verdict:
        Of its newest verification; None: it was never verified.
    sampled:
        A sample of its tables was proven, and nothing is known against it; its verdict is inconclusive.
    holds:
        Why it must be kept whatever the policy says, as phrases.
    doubted:
        It was proven before a chunk of it was found damaged; see `coffre.rotate.quarantine`.
    locked:
        Until when Object Lock keeps its manifest; None: it doesn't.
    """

    backup_id: str
    time: datetime
    verdict: Verdict | None = None
    sampled: bool = False
    holds: tuple[str, ...] = ()
    doubted: bool = False
    locked: datetime | None = None


@dataclass(frozen=True)
class Decision:
    """What happens to a backup, and why, as sentences for people."""

    backup_id: str
    action: Literal["keep", "delete"]
    reasons: tuple[str, ...]


PERIODS: dict[Tier, Callable[[datetime], str]] = {
    "hourly": lambda time: f"{time:%Y-%m-%d %H}h",
    "daily": lambda time: f"{time:%Y-%m-%d}",
    "weekly": lambda time: f"{time:%G-W%V}",
    "monthly": lambda time: f"{time:%Y-%m}",
    "yearly": lambda time: f"{time:%Y}",
}


@dataclass
class _Reasons:
    """Reasons to keep, by backup; those in ``firm`` and ``held`` no cap may override.

    A cap counts as if nothing were held: else a hold, or a restore that goes on, would have another backup
    deleted.
    """

    firm: dict[str, list[str]] = field(default_factory=dict)
    held: dict[str, list[str]] = field(default_factory=dict)
    tiers: dict[str, list[str]] = field(default_factory=dict)

    def of(self, backup_id: str) -> tuple[str, ...]:
        return tuple(
            reason for kind in (self.firm, self.held, self.tiers) for reason in kind.get(backup_id, ())
        )


def decide(backups: Sequence[BackupFacts], retention: Retention, now: datetime) -> list[Decision]:
    """Decide on every backup.

    Kept are: the newest ``keep_last`` backups, and as many of the proven ones; the last backup of each of the
    newest N hours, days, ISO weeks, months and years that have one; what is held; what lies in the future;
    what Object Lock keeps anyway.  A backup whose proof failed takes nobody's place; it is deleted once a
    newer one is proven.  One whose proof became doubtful is kept until then.  Of those that were proven by
    sample the newest is kept as well, unless a newer one is proven: a sample takes no proof's place, but
    where nothing else is possible it is the best there is.

    Parameters
    ----------
    backups:
        In any order; times in UTC decide to which hour or day a backup belongs.
    now:
        The time of the decision.

    Returns
    -------
    list of Decision
        One for each backup, newest first, each with at least one reason.
    """
    ordered = sorted(backups, key=lambda backup: (backup.time, backup.backup_id), reverse=True)
    past = [backup for backup in ordered if backup.time <= now]
    good = [backup for backup in past if backup.verdict != "failed"]
    reasons = _Reasons()
    _keep_floor(good, retention.keep_last, reasons.firm)
    for backup in ordered:
        for hold in backup.holds:
            _add(reasons.held, backup, f"held: {hold}")
    _keep_special(ordered, now, reasons.firm)
    for tier in TIERS:
        for backup, reason in tier_members(good, retention, tier):
            _add(reasons.tiers, backup, reason)
    over = _over_cap(good, reasons, retention.cap)
    return [_decision(backup, reasons, retention, over, now) for backup in ordered]


def _keep_floor(good: list[BackupFacts], count: int, firm: dict[str, list[str]]) -> None:
    for number, backup in enumerate(good[:count], 1):
        _add(firm, backup, f"newest: {number} of {count}")
    proven = [backup for backup in good if backup.verdict == "proven"]
    for number, backup in enumerate(proven[:count], 1):
        what = "the last proven backup" if number == 1 else f"{number} of the newest {count} proven backups"
        _add(firm, backup, f"proven: {what}")


def _keep_special(ordered: list[BackupFacts], now: datetime, firm: dict[str, list[str]]) -> None:
    proven = next((b for b in ordered if b.time <= now and b.verdict == "proven"), None)
    sampled = next((b for b in ordered if b.time <= now and b.sampled), None)
    if sampled is not None and proven is not None and not _newer(sampled, proven):
        sampled = None
    for backup in ordered:
        if backup.time > now:
            _add(
                firm,
                backup,
                f"future: its time {backup.time:%Y-%m-%d %H:%M:%S} is still to come (a clock is wrong)",
            )
        elif backup.verdict == "failed" and (proven is None or _newer(backup, proven)):
            _add(firm, backup, "failed: its proof failed, but no newer backup is proven yet")
        elif backup is sampled:
            _add(firm, backup, "sampled: the newest that was proven by sample, and no newer backup is proven")
        elif backup.doubted and (proven is None or _newer(backup, proven)):
            _add(firm, backup, "doubted: a chunk of it was found damaged, and no newer backup is proven yet")


def _newer(one: BackupFacts, other: BackupFacts) -> bool:
    return (one.time, one.backup_id) > (other.time, other.backup_id)


def tier_members(
    good: Sequence[BackupFacts], retention: Retention, tier: Tier
) -> Iterator[tuple[BackupFacts, str]]:
    """The backups that a tier keeps, newest first, and why.

    Parameters
    ----------
    good:
        The backups that take a place, newest first.
    """
    count, days, seen = retention.count(tier), retention.days(tier), list[str]()
    for backup in good:
        name = PERIODS[tier](backup.time)
        if name in seen[-1:]:
            continue
        if len(seen) == count or (days is not None and good[0].time - backup.time > timedelta(days=days)):
            return
        seen.append(name)
        place = f"{len(seen)} of {count}" if days is None else f"within {days} days of the newest"
        yield backup, f"{tier}: last of {name} ({place}{_promoted(backup, tier)})"


def _promoted(backup: BackupFacts, tier: Tier) -> str:
    """What a backup was taken as, if a tier above that keeps it."""
    match = BACKUP_ID.match(backup.backup_id)
    label = next((name for name in TIERS if match and match[2] == name), None)
    above = label is not None and TIERS.index(label) < TIERS.index(tier)
    return f", promoted from {label}" if above else ""


def _over_cap(good: Iterable[BackupFacts], reasons: _Reasons, cap: int | None) -> set[str]:
    """The oldest of what only tiers keep, as far as more than ``cap`` are kept."""
    kept = [b.backup_id for b in good if b.backup_id in reasons.firm or b.backup_id in reasons.tiers]
    surplus = max(0, len(kept) - cap) if cap is not None else 0
    loose = [backup_id for backup_id in kept if backup_id not in reasons.firm]
    return set(loose[len(loose) - min(surplus, len(loose)) :]) - reasons.held.keys()


def _decision(
    backup: BackupFacts, reasons: _Reasons, retention: Retention, over: set[str], now: datetime
) -> Decision:
    found = reasons.of(backup.backup_id)
    if found and backup.backup_id not in over:
        return Decision(backup.backup_id, "keep", found)
    if backup.backup_id in over:
        reason = f"cap: {retention.cap} newer backups are kept already"
    elif backup.verdict == "failed":
        reason = "failed: its proof failed, and a newer backup is proven"
    else:
        reason = f"superseded: not among the newest {retention.keep_last}, and in none of the periods to keep"
    if backup.locked is not None and backup.locked > now:
        # Its bytes can't go before that date, so hiding it would only take it away from its owner.
        return Decision(
            backup.backup_id, "keep", (f"locked: until {_time(backup.locked)}", f"then: {reason}")
        )
    return Decision(backup.backup_id, "delete", (reason,))


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _add(to: dict[str, list[str]], backup: BackupFacts, reason: str) -> None:
    to.setdefault(backup.backup_id, []).append(reason)
