"""A load test's verdict: a pure function of what was measured and of what the owner wants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coffre.results import SAMPLED, Finding, Met, ObjectivesReport
from coffre.results.loadtest import Part, PartName, PartVerdict, Round, Stage, TestedProof, Watched

SLOWER = 2.0
SLOWER_SECONDS = 0.05
"""A median that is so many times the one before, and so much longer, is worth telling."""
SPARED = {"not-due", SAMPLED}
"""Why a proof that found nothing wrong didn't restore everything."""
UNASKED_SHARE = 0.1
"""If more of the moments than this went by without a question, the shares of the others say too little."""


@dataclass(frozen=True)
class Measured:
    """What a load test measured, and what it is judged by.

    Attributes
    ----------
    rounds_asked:
        How many rounds there should have been.
    endpoints:
        How many the registration names.
    availability:
        The least share of right answers, in percent.
    stages:
        What went on, baseline excluded: in each of them something must have been answered.
    unasked:
        Moments at which the question couldn't be put.
    """

    rounds_asked: int
    rounds: Sequence[Round]
    objectives: ObjectivesReport
    endpoints: int
    availability: float
    watched: Sequence[Watched]
    stages: frozenset[Stage]
    unasked: int


Judged = tuple[Part, list[Finding]]


def judge(measured: Measured) -> tuple[Met, list[Part], list[Finding]]:
    """The verdict, its parts, and the reasons: first what is against it, then what else should be known.

    ``met`` needs every part to be met.  A part that is missed decides; else one that wasn't measured, or that
    has no objective, makes the verdict ``inconclusive``.
    """
    judged = [
        _integrity(measured),
        _rpo(measured.objectives),
        _rto(measured),
        _availability(measured),
        _source(measured),
    ]
    parts = [part for part, _ in judged]
    reasons = [reason for _, found in judged for reason in found]
    order = ("refuse", "warn", "info")
    return overall(parts), parts, sorted(reasons, key=lambda reason: order.index(reason.level))


def overall(parts: Iterable[Part]) -> Met:
    """The verdict of all parts together."""
    verdicts = {part.verdict for part in parts}
    if "missed" in verdicts:
        return "missed"
    return "met" if verdicts == {"met"} else "inconclusive"


def _integrity(measured: Measured) -> Judged:
    """Every round must have a backup that is proven and a restore that equals it."""
    intact = sum(_intact(one) for one in measured.rounds)
    name = measured.objectives.database
    reasons = [reason for one in measured.rounds for reason in _doubts(one, name)]
    if any(reason.level == "refuse" for reason in reasons):
        verdict: PartVerdict = "missed"
    else:
        verdict = "met" if intact == measured.rounds_asked else "inconclusive"
    share = 100 * intact / measured.rounds_asked
    return _part("integrity", verdict, "percent", 100.0, share), reasons


def _intact(one: Round) -> bool:
    """A drill that compared every digest makes up for a proof that wasn't due, or that took a sample."""
    if one.proof is None or one.restore is None or one.fault is not None:
        return False
    shown = one.proof.verdict == "proven" or (_only_spared(one.proof) and one.restore.kind == "drill")
    return shown and one.restore.digests_equal


def _only_spared(proof: TestedProof) -> bool:
    """Whether nothing but less work than a whole proof stands against it."""
    doubts = {reason.code for reason in proof.reasons if reason.level != "info"}
    return proof.verdict == "inconclusive" and bool(doubts) and doubts <= SPARED


def _doubts(one: Round, database: str) -> list[Finding]:
    found = [] if one.fault is None else [one.fault]
    backup = one.backup.backup_id if one.backup else ""
    if one.proof is not None and one.proof.verdict != "proven":
        first = one.proof.reasons[0].message if one.proof.reasons else "no reason was given"
        failed = one.proof.verdict == "failed"
        code = "proof-failed" if failed else "proof-inconclusive"
        level = "refuse" if failed else "info" if _intact(one) else "warn"
        advice = f"`coffre show {database} {backup}` tells all reasons."
        message = f"the proof of {backup} is {one.proof.verdict}: {first}"
        found.append(_finding(level, code, backup, message, advice))
    if one.restore is not None and not one.restore.digests_equal:
        message = f"what was restored from {backup} to {one.restore.server} isn't shown to equal the backup"
        advice = "Look at the findings of a drill of it, and don't rely on this backup before."
        found.append(_finding("refuse", "digests-not-equal", backup, message, advice))
    return found


def _rpo(objectives: ObjectivesReport) -> Judged:
    allowed, exposed = objectives.rpo_hours * 3600, objectives.proven_exposure_seconds
    if objectives.rpo_met:
        return _part("RPO", "met", "seconds", allowed, exposed), []
    at_stake = "nothing is proven" if exposed is None else f"{exposed:.0f} s of work were at stake"
    message = (
        f"{at_stake} at the worst moment of the last {objectives.days} days; {allowed:.0f} s are allowed"
    )
    advice = "Back up more often, or find out why runs or proofs failed."
    return (
        _part("RPO", "missed", "seconds", allowed, exposed),
        [_finding("refuse", "rpo-missed", "RPO", message, advice)],
    )


def _rto(measured: Measured) -> Judged:
    """By the slowest restore of this test."""
    minutes = measured.objectives.rto_minutes
    allowed = None if minutes is None else minutes * 60
    restores = [one.restore for one in measured.rounds if one.restore is not None]
    slowest = max((restore.seconds for restore in restores), default=None)
    if slowest is None:
        missing = _finding("warn", "restore-not-measured", "RTO", "no restore was measured")
        return _part("RTO", "inconclusive", "seconds", allowed, None), [missing]
    notes = []
    if all(restore.kind == "proof" for restore in restores):
        message = "the restore was measured on a proof's own server, not on one like that of the application"
        advice = "Name a scratch server (`--to`, or `scratch` in the registration)."
        notes.append(_finding("info", "restored-by-proof", "RTO", message, advice))
    if allowed is None:
        advice = "Decide how long a restore may take, and set rto_minutes."
        notes.append(_finding("warn", "no-rto", "RTO", "nobody said how long a restore may take", advice))
        return _part("RTO", "inconclusive", "seconds", None, slowest), notes
    if slowest <= allowed:
        return _part("RTO", "met", "seconds", allowed, slowest), notes
    message = f"a restore took {slowest:.1f} s; {allowed:.0f} s are allowed"
    advice = "Give the restore more memory, a larger target, or a longer RTO."
    return (
        _part("RTO", "missed", "seconds", allowed, slowest),
        [_finding("refuse", "rto-missed", "RTO", message, advice), *notes],
    )


def _availability(measured: Measured) -> Judged:
    if not measured.endpoints:
        advice = "Register them: `coffre databases add --endpoint`, or `endpoints` in the registration."
        message = "no endpoint of the application is registered, so its availability was not measured"
        reason = _finding("warn", "no-endpoints", "availability", message, advice)
        return _part("availability", "not measured", "percent", measured.availability, None), [reason]
    found = [one for one in measured.watched if one.kind == "endpoint"]
    return _served("availability", found, measured.endpoints, measured)


def _source(measured: Measured) -> Judged:
    return _served("source", [one for one in measured.watched if one.kind == "source"], 1, measured)


def _served(name: PartName, found: Sequence[Watched], expected: int, measured: Measured) -> Judged:
    """Whether enough answers were right; too few answers prove nothing, but a wrong one counts."""
    allowed = measured.availability
    shares = [one.meanwhile.percent for one in found if one.meanwhile.percent is not None]
    worst = min(shares, default=None)
    reasons = [reason for one in found for reason in _below(name, one, allowed)]
    if reasons:
        return _part(name, "missed", "percent", allowed, worst), reasons + _notes(found)
    gaps = _gaps(name, found, expected, measured)
    verdict: PartVerdict = "inconclusive" if gaps else "met"
    return _part(name, verdict, "percent", allowed, worst), [*gaps, *_notes(found)]


def _below(name: PartName, one: Watched, allowed: float) -> list[Finding]:
    share = one.meanwhile.percent
    if share is None or share >= allowed:
        return []
    wrong = one.meanwhile.asked - one.meanwhile.right
    message = (
        f"{wrong} of {one.meanwhile.asked} answers were wrong, where {allowed:g} % must be right; "
        f"at worst for {one.meanwhile.outage_seconds:.1f} s: {one.meanwhile.reason}"
    )
    before = one.baseline
    if before.percent is not None and before.percent < allowed:
        were = f"{before.asked - before.right} of {before.asked} were wrong"
        message += f"; before the test {were}, too, so it may not be the cause"
    advice = "Look at what the application and the server were short of at that time."
    return [_finding("refuse", f"{name}-missed", one.subject, message, advice)]


def _gaps(name: PartName, found: Sequence[Watched], expected: int, measured: Measured) -> list[Finding]:
    """Why the answers that there are don't show enough."""
    asked = max((one.meanwhile.asked for one in found), default=0)
    if measured.unasked > UNASKED_SHARE * (measured.unasked + asked):
        message = f"{measured.unasked} times the question couldn't be put, beside {asked} times that it was"
        advice = "Look at the log of the health function, and at throttles of the account."
        return [_finding("warn", f"{name}-unasked", name, message, advice)]
    unseen = sorted({stage for one in found for stage in measured.stages - _answered(one)})
    if unseen or len(found) < expected:
        where = f"during {', '.join(unseen)}" if unseen else "at all"
        message = f"there was no answer to judge by {where}"
        return [_finding("warn", f"{name}-unseen", name, message, "Ask more often (`--interval`).")]
    return []


def _answered(one: Watched) -> set[Stage]:
    return {stage for stage, seen in one.stages.items() if seen.asked}


def _notes(found: Sequence[Watched]) -> list[Finding]:
    """Answers that were right, and clearly slower than before."""
    notes = []
    for one in found:
        before, then = one.baseline.median_seconds, one.meanwhile.median_seconds
        if before is None or then is None or then < before * SLOWER or then < before + SLOWER_SECONDS:
            continue
        message = f"answers took {then:.3f} s in the median, {before:.3f} s before the test"
        notes.append(_finding("info", "slower", one.subject, message))
    return notes


def _part(
    name: PartName, verdict: PartVerdict, unit: str, allowed: float | None, measured: float | None
) -> Part:
    return Part.model_validate(
        {"name": name, "verdict": verdict, "unit": unit, "allowed": allowed, "measured": measured}
    )


def _finding(level: str, code: str, what: str, message: str, advice: str = "") -> Finding:
    return Finding.model_validate(
        {"level": level, "code": code, "object": what, "message": message, "advice": advice}
    )
