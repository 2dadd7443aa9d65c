"""What reports on a sealed database leave out: they lie in its vault, open to whoever reads it.

Numbers that are left out are 0, as in the open half of a sealed manifest.
"""

from __future__ import annotations

from collections.abc import Iterable

from coffre.databases.registration import Registration
from coffre.events.report import ExerciseEvent
from coffre.results import Finding, LoadTestReport, Round
from coffre.vault.evidence import SEALED_MESSAGE, public_findings

_QUOTING = {"proof-failed", "proof-inconclusive"}
"""Codes of a load test's reasons that quote what a proof found."""


def shown(findings: list[Finding], registration: Registration, database: str) -> list[Finding]:
    """Findings about backups, as a report may name them."""
    return findings if registration.seal_key is None else public_findings(findings, database)


def shown_exercise(event: ExerciseEvent, registration: Registration) -> ExerciseEvent:
    """An exercise, as its protocol may tell of it."""
    if registration.seal_key is None:
        return event

    def public(found: Iterable[dict[str, object]]) -> list[dict[str, object]]:
        findings = public_findings(map(Finding.model_validate, found), event.database)
        return [finding.model_dump() for finding in findings]

    told = {"message": SEALED_MESSAGE, "advice": ""} if event.code else {}
    numbers = {"tables": 0, "rows": 0}
    found = {"findings": public(event.findings), "exceptions": public(event.exceptions)}
    return event.model_copy(update={**numbers, **found, **told})


def shown_load_test(report: LoadTestReport, registration: Registration) -> LoadTestReport:
    """A load test's report, as it may be kept."""
    if registration.seal_key is None:
        return report
    quoting = _QUOTING | {one.fault.code for one in report.rounds if one.fault is not None}
    reasons = [
        found
        for reason in report.reasons
        for found in (public_findings([reason], report.database) if reason.code in quoting else [reason])
    ]
    rounds = [_shown_round(one, report.database) for one in report.rounds]
    return report.model_copy(update={"reasons": reasons, "rounds": rounds})


def _shown_round(one: Round, database: str) -> Round:
    update: dict[str, object] = {}
    if one.backup is not None:
        update["backup"] = one.backup.model_copy(update={"rows": 0, "relations": 0})
    if one.proof is not None:
        nothing = {"tables": 0, "rows": 0, "digests": 0}
        reasons = public_findings(one.proof.reasons, database)
        update["proof"] = one.proof.model_copy(update={**nothing, "reasons": reasons})
    if one.restore is not None:
        update["restore"] = one.restore.model_copy(update={"rows": 0, "tables": 0})
    if one.fault is not None:
        (update["fault"],) = public_findings([one.fault], database)
    return one.model_copy(update=update)
