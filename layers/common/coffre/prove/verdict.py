"""Compare what was restored with what was recorded, and judge."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from coffre.databases.postgresql.compare import compare_objects
from coffre.databases.postgresql.described import compare_described, compare_roles
from coffre.databases.postgresql.exceptions import Exceptions, with_exceptions
from coffre.databases.postgresql.objects import count_present
from coffre.databases.postgresql.partial import name_foreign_keys
from coffre.errors import CoffreError
from coffre.prove.box import in_the_box
from coffre.prove.fit import sampled
from coffre.prove.job import Proof
from coffre.results import Compared, Finding, ProofReport, Sample, listed


def compare(proof: Proof, exceptions: Exceptions) -> tuple[list[Finding], Compared]:
    """Compare the restored database with all that was recorded: what differs, and how much was compared."""
    contents, manifest, absent = proof.contents, proof.manifest, proof.rebuild.absent
    findings, tables, rows = proof.rebuild.compare(proof.server.major)
    missing, objects = exceptions.missing, manifest.objects
    same_major = manifest.engine.major == proof.server.major
    with proof.rebuild.session() as session:
        if absent is not None:
            absent.enter(session)
            findings += name_foreign_keys(session)
            missing = missing + Counter(large_objects=manifest.totals.large_objects)
            objects = count_present(session)
        findings += compare_objects(session, manifest, missing)
        roles = [in_the_box(role) for role in contents.roles]
        findings += compare_roles(session, roles)
        if "objects" in manifest.requires:
            # Between majors the rights that everybody has by default may differ.
            level: Literal["refuse", "info"] = "refuse" if same_major else "info"
            findings += compare_described(session, contents.described, level=level)
    lost = 0
    if absent is not None and missing["constraints"] == manifest.objects.get("constraints", 0):
        # Foreign keys that no rows stand behind were left out, and their comments with them.
        kept = [finding for finding in findings if not _on_constraint(finding)]
        findings, lost = kept, len(findings) - len(kept)
    compared = Compared(
        tables=tables,
        rows=rows,
        digests=tables,
        sequences=len(contents.sequences),
        constraints=objects.get("constraints", 0),
        indexes=objects.get("valid_indexes", 0),
        materialized_views=objects.get("populated_materialized_views", 0),
        large_objects=objects.get("large_objects", 0),
        grants=sum(len(item.grants) for item in contents.described),
        comments=sum(bool(item.comment) for item in contents.described) - lost,
        roles=len(roles),
        memberships=sum(len(role.member_of) for role in roles),
        generated=sum(bool(end.generated) for end in contents.ends.values()),
    )
    return findings, compared


def _on_constraint(finding: Finding) -> bool:
    return finding.code == "comment-differs" and finding.object.startswith("table constraint ")


def judge(proof: Proof, findings: list[Finding], compared: Compared) -> ProofReport:
    """The verdict on what was found; a rehearsal of an upgrade bears other texts of the same values."""
    version = f"PostgreSQL {proof.server.major}"
    sample = proof.sample
    if proof.rehearsal:
        # Another text of the same value is what an upgrade brings, and stands in nobody's way.
        findings = [
            at_level(finding, "info") if finding.code == "text-changed" else finding for finding in findings
        ]
    if any(finding.level == "refuse" for finding in findings):
        grave = sorted(findings, key=lambda finding: finding.level != "refuse")
        findings = [*with_exceptions(findings, proof.manifest.id), *grave]
        return report_of("failed", findings, compared, version, proof.watch.phases, sample)
    if sample is not None:
        findings = [sampled(sample, proof.manifest.id), *findings]
    elif compared.tables == 0:
        nothing = Finding(
            level="refuse",
            code="nothing-compared",
            object=proof.manifest.id,
            message="the backup holds no table",
        )
        return report_of("failed", [nothing], compared, version, proof.watch.phases)
    if any(finding.level == "warn" for finding in findings):
        shown = sample if sample is not None and sample.tables else None
        return report_of("inconclusive", findings, compared, version, proof.watch.phases, shown)
    return report_of("proven", findings, compared, version, proof.watch.phases)


def at_level(finding: Finding, level: Literal["warn", "info"]) -> Finding:
    """The finding at another level."""
    return finding.model_copy(update={"level": level})


def finding_of(error: CoffreError, level: str) -> Finding:
    """The error as a finding."""
    return Finding.model_validate(
        {"level": level, "code": error.code, "object": "", "message": error.message, "advice": error.hint}
    )


def report_of(
    verdict: str,
    reasons: list[Finding],
    compared: Compared | None = None,
    version: str = "",
    phases: dict[str, float] | None = None,
    sample: Sample | None = None,
) -> ProofReport:
    """The report of a verdict, with as many reasons as an event can hold."""
    return ProofReport.model_validate(
        {
            "verdict": verdict,
            "reasons": [reason.model_dump() for reason in listed(reasons)],
            "compared": (compared or Compared()).model_dump(),
            "server_version": version,
            "phases": phases or {},
            "sample": sample,
        }
    )
