"""Backups, their verdicts, holds, rotations and rechecks as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from coffre_cli.errors import recorded
from coffre_cli.output import clean, count, duration, moment, several, size
from coffre_cli.tables import facts, findings, findings_below, table, word

if TYPE_CHECKING:
    from coffre.catalogue.entries import BackupEntry, RehearsalEntry
    from coffre.results import (
        BackupResult,
        CopyResult,
        HoldResult,
        RecheckResult,
        RotateReport,
        RotateResult,
        VerifyResult,
    )
    from coffre.vault.locks import LockRule
    from coffre.vault.manifest import Manifest


_NAMED = 20


def backup(result: BackupResult) -> Group:
    """A backup that ended."""
    if result.status == "skipped":
        return Group(f"backup {result.backup_id} exists already; nothing was done")
    summary = facts(
        {
            "backup": result.backup_id,
            "status": word(result.status),
            "relations": count(result.relations),
            "rows": count(result.rows),
            "size": size(result.bytes),
            "stored": f"{size(result.stored_bytes)} in {several(result.chunks, 'chunk')}",
            "new": f"{size(result.new_bytes)} in {several(result.new_chunks, 'chunk')}",
            "time": duration(result.seconds),
            "runs": result.where,
            "root hash": result.root_hash,
        }
    )
    return Group(summary, *findings_below(result.findings), "The verification starts by itself.")


def backups(entries: Sequence[BackupEntry], none: str = "no backup fits") -> RenderableType:
    """The backups of a database; of their copies only where the vault has one."""
    copied = any(entry.copy for entry in entries)
    rows = (
        (
            entry.backup_id,
            word(entry.status),
            word(entry.verdict),
            *([word(entry.copy)] if copied else []),
            count(entry.rows),
            size(entry.bytes or None),
            size(entry.new_bytes if entry.bytes else None),
            moment(entry.completed or entry.started),
            entry.error_code or "; ".join(filter(None, (entry.reason, entry.sampled))),
        )
        for entry in entries
    )
    copy = ["copy"] if copied else []
    columns = ("id", "status", "verdict", *copy, "rows", "size", "new", "completed", "note")
    return table(
        *columns,
        rows=rows,
        numbers=("rows", "size", "new"),
        whole=("id", "status", "verdict", *copy, "completed"),
        none=none,
        gives_way=("completed", "new", "note", "size", "rows", *copy, "verdict"),
    )


def one_backup(
    entry: BackupEntry | None,
    manifest: Manifest | None,
    root_hash: str,
    protection: Mapping[str, Any],
    evidence: VerifyResult | None = None,
    rehearsals: Sequence[RehearsalEntry] = (),
) -> Group:
    """Everything about one backup; ``evidence`` is what its newest verification left."""
    parts: list[RenderableType] = []
    if entry is not None:
        parts.append(facts(_entry_facts(entry)))
        parts += findings_below(entry.reasons)
    if evidence is not None:
        parts += [facts({"sample": _sample(evidence)})] if evidence.sample is not None else []
        parts += _compared(evidence)
    parts += _rehearsed(rehearsals)
    if manifest is not None:
        parts.append("")
        protected = {"holds": "; ".join(protection["holds"]), "immutable": protection["immutable"]}
        parts.append(facts(_manifest_facts(manifest, root_hash) | protected))
        if manifest.left_out:
            rows = ((item.kind, item.name, item.reason) for item in manifest.left_out)
            parts += ["", table("left out", "name", "why", rows=rows)]
    return Group(*parts)


def _rehearsed(found: Sequence[RehearsalEntry]) -> list[RenderableType]:
    """The newest upgrades that were rehearsed, and what the last one of them found."""
    if not found:
        return []
    rows = (
        (moment(one.time), f"{one.from_version} to {one.major}", word(one.verdict), one.evidence)
        for one in found
    )
    columns = ("upgrade rehearsed", "PostgreSQL", "verdict", "kept as")
    shown = table(*columns, rows=rows, whole=columns[1:3])
    return ["", shown, *findings_below(found[0].reasons)]


def _entry_facts(entry: BackupEntry) -> dict[str, object]:
    error = recorded(entry.error_code, entry.error_message) if entry.error_code else None
    return {
        "backup": entry.backup_id,
        "status": word(entry.status),
        "error": f"[{entry.error_code}] {error.message}" if error else "",
        "what to do": error.hint if error else "",
        "verdict": word(entry.verdict or "not verified yet") if entry.status != "failed" else "",
        "verified": moment(entry.verified),
        "evidence": entry.evidence,
        "copy": _copy(entry),
        "reason": entry.reason,
        "deleted": moment(entry.deleted),
    }


def _copy(entry: BackupEntry) -> str:
    if not entry.copy:
        return ""
    where = f" in {entry.copy_bucket}" if entry.copy_bucket else ""
    return f"{entry.copy_summary}{where} ({moment(entry.copy_checked)})"


def _manifest_facts(manifest: Manifest, root_hash: str) -> dict[str, object]:
    totals = manifest.totals
    return {
        "root hash": root_hash,
        "sealed": f"with the KMS key {manifest.seal.kms_key}" if manifest.seal else "",
        **(_closed_facts(manifest) if manifest.is_closed else _open_facts(manifest)),
        "completed": moment(manifest.completed),
        "encoding": f"{manifest.locale.encoding}, {manifest.locale.collate}",
        "size": size(totals.bytes),
        "stored": f"{size(totals.stored_bytes)} in {several(totals.chunks, 'chunk')}",
        "new": f"{size(totals.new_bytes)} in {several(totals.new_chunks, 'chunk')}",
    }


def _closed_facts(manifest: Manifest) -> dict[str, object]:
    """What anybody may read of a sealed backup."""
    return {
        "source": f"PostgreSQL {manifest.engine.server_version}; its names and numbers are sealed",
        "snapshot": moment(manifest.snapshot.taken),
    }


def _open_facts(manifest: Manifest) -> dict[str, object]:
    totals = manifest.totals
    return {
        "source": f"{manifest.engine.database} on PostgreSQL {manifest.engine.server_version}",
        "snapshot": f"{moment(manifest.snapshot.taken)} at {manifest.snapshot.lsn}",
        "extensions": ", ".join(f"{item.name} {item.version}" for item in manifest.extensions),
        "relations": f"{count(totals.relations)} and {several(totals.sequences, 'sequence')}",
        "rows": count(totals.rows),
        "needs": ", ".join(manifest.needs),
        "large objects": count(totals.large_objects) if totals.large_objects else "",
    }


def verification(result: VerifyResult) -> Group:
    """A verdict: what it is about, why, and what was compared."""
    summary = facts(
        {
            "verdict": word(result.verdict),
            "sample": _sample(result),
            "backup": f"{result.database} {result.backup_id}",
            "root hash": result.root_hash,
            "size": f"{size(result.bytes)}, {several(result.rows, 'row')} in "
            f"{several(result.tables, 'table')}",
            "completed": moment(result.completed),
            "evidence": result.evidence,
            "time": duration(result.seconds),
        }
    )
    return Group(summary, *findings_below(result.reasons), *_compared(result))


def _sample(result: VerifyResult) -> str:
    """Whose rows were restored, where not all were."""
    names = result.sample.names if result.sample is not None else []
    return ", ".join([*map(clean, names[:_NAMED]), *(["..."] if len(names) > _NAMED else [])])


def copy(result: CopyResult) -> Group:
    """Whether a copy is complete, and what isn't there."""
    summary = facts(
        {
            "copy": word(result.verdict),
            "backup": f"{result.database} {result.backup_id}",
            "in": result.bucket,
            "root hash": result.root_hash,
            "looked for": f"{several(result.objects, 'object')}, {size(result.bytes)}",
            "compared by": result.by,
            "pending": count(result.pending),
            "lacking": count(result.lacking),
            "evidence": result.evidence,
            "time": duration(result.seconds),
        }
    )
    return Group(summary, *findings_below(result.reasons))


def _compared(result: VerifyResult) -> list[RenderableType]:
    """What was compared, and what the rehearsal of an upgrade said."""
    rows = ((_what_was(name, result), count(number)) for name, number in result.compared)
    parts: list[RenderableType] = ["", table("compared", "count", rows=rows, numbers=("count",))]
    if result.upgrade is not None:
        told = {f"PostgreSQL {result.upgrade.major}": word(result.upgrade.verdict)}
        parts += ["", facts({**told, "kept as": result.upgrade.evidence})]
        parts += findings_below(result.upgrade.reasons)
    return parts


def _what_was(name: str, result: VerifyResult) -> str:
    """What a number of compared things counts: partitions that came through one root were compared as one."""
    if name == "tables" and result.verdict == "proven" and result.compared.tables < result.tables:
        return "tables, partitions loaded through one root as one"
    return name.replace("_", " ")


def held(result: HoldResult) -> Group:
    """The holds of a backup after a change."""
    summary = facts(
        {
            "backup": f"{result.database} {result.backup_id}",
            "holds": "; ".join(map(clean, result.holds)) or "none",
            "objects": count(result.objects) if result.objects else "",
        }
    )
    return Group(summary)


def immutability(rule: LockRule | None, until: datetime | None, *, legal_hold: bool, bucket: str) -> str:
    """What keeps a backup from being deleted by anybody, as the store itself says it."""
    if rule is None:
        return f"no: {bucket} has no Object Lock"
    now = datetime.now(UTC)
    if legal_hold:
        return "by a legal hold until it is released"
    if until is None or until <= now:
        return "no: its lock has ended" if until else "no: it has no lock"
    bypass = ", but for who may bypass governance" if rule.mode == "GOVERNANCE" else ""
    return f"until {until:%Y-%m-%d %H:%M:%S} UTC ({rule.mode}{bypass})"


def rotation(result: RotateResult) -> Group:
    """What happened, or would happen, to each backup."""
    parts: list[RenderableType] = []
    for report in result.reports:
        parts += _rotated(report)
    parts += [Text(f"{name}: {clean(error)}", style="red") for name, error in result.failed.items()]
    return Group(*parts) if parts else Group("no database is registered")


def _rotated(report: RotateReport) -> list[RenderableType]:
    title = f"{report.database} (dry run: nothing is changed)" if report.dry_run else report.database
    rows = (
        (
            entry.backup_id,
            word(entry.action),
            size(entry.frees_bytes) if entry.frees_bytes else "",
            ", ".join(entry.reasons),
        )
        for entry in report.decisions
    )
    sweep = (
        f"chunks: {count(report.marked_chunks)} marked ({size(report.marked_bytes)}), "
        f"{count(report.purged_chunks)} purged ({size(report.purged_bytes)}), "
        f"{count(report.waiting_chunks)} waiting ({size(report.waiting_bytes)}), "
        f"{count(report.orphans)} orphans"
    )
    columns = ("backup", "action", "frees", "why")
    decisions = table(*columns, rows=rows, numbers=("frees",), whole=("backup", "action"), none="no backup")
    return [Text(title, style="bold"), decisions, sweep, *_more(report)]


def _more(report: RotateReport) -> list[RenderableType]:
    """Locks and damage, where there are any."""
    lines: list[RenderableType] = []
    if report.locked_objects:
        until = f"until {moment(report.locked_until)}" if report.locked_until else "until they are released"
        what = f"{several(report.locked_objects, 'object')} ({size(report.locked_bytes)})"
        lines.append(f"locked: {what} wait for Object Lock, {until}")
    if report.extended:
        lines.append(f"locks made longer: {', '.join(report.extended)}")
    if report.quarantined_chunks:
        number = f"{count(report.quarantined_chunks)} damaged chunks put aside"
        lines.append(Text(f"{number}: back up again to store their rows afresh", style="yellow"))
    if report.doubted:
        lines.append(Text(f"no longer proven: {', '.join(report.doubted)}", style="yellow"))
    return lines


def rechecked(result: RecheckResult) -> Group:
    """What was read again, and what is damaged."""
    rows = (
        (
            entry.database,
            count(entry.chunks),
            size(entry.bytes),
            f"{entry.slices_done} of {entry.slices_due} due, of 256",
            moment(entry.round_started),
            Text(f"{len(entry.findings)} findings", style="red") if entry.findings else "none",
        )
        for entry in result.reports
    )
    columns = ("database", "chunks", "read", "slices", "round began", "damage")
    nothing = "the vault holds nothing yet"
    parts: list[RenderableType] = [table(*columns, rows=rows, numbers=("chunks", "read"), none=nothing)]
    for entry in result.reports:
        parts += [Text(entry.database, style="bold"), findings(entry.findings)] if entry.findings else []
    return Group(*parts)
