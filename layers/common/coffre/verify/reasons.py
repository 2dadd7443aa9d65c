"""What a verification tells: findings, reports, and how many of them fit where they go."""

from __future__ import annotations

from coffre.errors import CoffreError
from coffre.events.base import Verdict
from coffre.results import Compared, Finding, ProofReport, VerifyResult

MAX_REASONS = 5_000
"""More would not fit into evidence (`coffre.vault.evidence.MAX_BYTES`)."""

SHOWN_REASONS = 100
"""More would not fit into an event (256 KB) or an item of the catalogue (400 KB)."""


def doubt(code: str, message: str) -> Finding:
    """A finding that says why there is no answer."""
    return Finding(level="warn", code=code, object="", message=message)


def refusal(error: CoffreError, what: str = "") -> Finding:
    """The error as a finding against the backup; ``what``: the object that it is about."""
    return Finding(level="refuse", code=error.code, object=what, message=error.message, advice=error.hint)


def report_of(verdict: Verdict, reasons: list[Finding]) -> ProofReport:
    """A report of what no proof was needed or possible for."""
    return ProofReport(verdict=verdict, reasons=reasons, compared=Compared(), server_version="", phases={})


def bounded(result: VerifyResult, most: int) -> VerifyResult:
    """The result with as many reasons and names as fit where it goes."""
    if result.sample is not None:
        sample = result.sample.model_copy(update={"names": result.sample.names[:most]})
        result = result.model_copy(update={"sample": sample})
    upgrade = result.upgrade
    if upgrade is None:
        return result.model_copy(update={"reasons": first_reasons(result.reasons, most)})
    half = most // 2
    upgrade = upgrade.model_copy(update={"reasons": first_reasons(upgrade.reasons, half)})
    return result.model_copy(update={"reasons": first_reasons(result.reasons, half), "upgrade": upgrade})


def first_reasons(reasons: list[Finding], most: int) -> list[Finding]:
    """The first reasons, and how many more there are; a proof may have left out some already."""
    last = reasons[-1:] if reasons and reasons[-1].code == "more" else []
    left = len(reasons) - len(last) - most
    if left <= 0:
        return reasons
    left += sum(found.count or 0 for found in last)
    more = doubt("more", f"{left} more findings are left out")
    return [*reasons[:most], more.model_copy(update={"count": left})]
