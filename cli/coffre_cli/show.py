"""Results as people read them: tables and short summaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coffre_cli.output import clean, count, duration, moment, size

if TYPE_CHECKING:
    from coffre.catalogue.entries import BackupEntry
    from coffre.databases.registration import OwnersCheck, Registration
    from coffre.results import (
        BackupResult,
        DrillResult,
        Finding,
        HealthResult,
        HoldResult,
        ObjectivesReport,
        RecheckResult,
        RestorePlan,
        RestoreResult,
        RotateReport,
        RotateResult,
        VerifyResult,
    )
    from coffre.vault.locks import LockRule
    from coffre.vault.manifest import Manifest

_STYLES = {
    "refuse": "red",
    "warn": "yellow",
    "info": "dim",
    "proven": "green",
    "completed": "green",
    "failed": "red",
    "delete": "red",
    "inconclusive": "yellow",
    "upgrade-ready": "green",
    "upgrade-blocked": "red",
    "in_progress": "cyan",
}


def word(text: str | None) -> Text:
    """A status, verdict or level in its colour."""
    return Text(text or "", style=_STYLES.get(text or "", ""))


def table(*columns: str, rows: Iterable[Sequence[object]], numbers: Sequence[str] = ()) -> Table:
    """A table; the columns in ``numbers`` are set to the right.  Cells that are text can't hold escapes."""
    found = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        right = column in numbers
        found.add_column(column, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        found.add_row(*(cell if isinstance(cell, Text) else clean(cell) for cell in row))
    return found


def facts(values: Mapping[str, object]) -> Table:
    """Names and values; a value that is empty is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in values.items():
        if isinstance(value, Text) or value not in (None, ""):
            grid.add_row(name, value if isinstance(value, Text) else clean(value))
    return grid


def findings(found: Sequence[Finding]) -> Table:
    """Findings with their advice."""
    rows = (
        (word(item.level), item.code, item.object, "\n".join(filter(None, (item.message, item.advice))))
        for item in found
    )
    return table("level", "code", "object", "what, and what to do", rows=rows)


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
            "stored": f"{size(result.stored_bytes)} in {count(result.chunks)} chunks",
            "new": f"{size(result.new_bytes)} in {count(result.new_chunks)} chunks",
            "time": duration(result.seconds),
            "root hash": result.root_hash,
        }
    )
    return Group(summary, *_findings(result.findings), "The verification starts by itself.")


def backups(entries: Sequence[BackupEntry]) -> RenderableType:
    """The backups of a database."""
    if not entries:
        return "no backup fits"
    rows = (
        (
            entry.backup_id,
            word(entry.status),
            word(entry.verdict),
            count(entry.rows),
            size(entry.bytes or None),
            size(entry.new_bytes if entry.bytes else None),
            moment(entry.completed or entry.started),
            entry.error_code or entry.reason,
        )
        for entry in entries
    )
    columns = ("id", "status", "verdict", "rows", "size", "new", "completed", "note")
    return table(*columns, rows=rows, numbers=("rows", "size", "new"))


def one_backup(
    entry: BackupEntry | None,
    manifest: Manifest | None,
    root_hash: str,
    protection: Mapping[str, Any],
    evidence: VerifyResult | None = None,
) -> Group:
    """Everything about one backup; ``evidence`` is what its newest verification left."""
    parts: list[RenderableType] = []
    if entry is not None:
        parts.append(facts(_entry_facts(entry)))
        parts += _findings(entry.reasons)
    if evidence is not None:
        parts += _compared(evidence)
    if manifest is not None:
        parts.append("")
        protected = {"holds": "; ".join(protection["holds"]), "immutable": protection["immutable"]}
        parts.append(facts(_manifest_facts(manifest, root_hash) | protected))
        if manifest.left_out:
            rows = ((item.kind, item.name, item.reason) for item in manifest.left_out)
            parts += ["", table("left out", "name", "why", rows=rows)]
    return Group(*parts)


def _entry_facts(entry: BackupEntry) -> dict[str, object]:
    return {
        "backup": entry.backup_id,
        "status": word(entry.status),
        "error": f"[{entry.error_code}] {entry.error_message}" if entry.error_code else "",
        "verdict": word(entry.verdict or "not verified yet"),
        "verified": moment(entry.verified),
        "evidence": entry.evidence,
        "reason": entry.reason,
        "deleted": moment(entry.deleted),
    }


def _manifest_facts(manifest: Manifest, root_hash: str) -> dict[str, object]:
    totals = manifest.totals
    return {
        "root hash": root_hash,
        "source": f"{manifest.engine.database} on PostgreSQL {manifest.engine.server_version}",
        "snapshot": f"{moment(manifest.snapshot.taken)} at {manifest.snapshot.lsn}",
        "completed": moment(manifest.completed),
        "encoding": f"{manifest.locale.encoding}, {manifest.locale.collate}",
        "extensions": ", ".join(f"{item.name} {item.version}" for item in manifest.extensions),
        "relations": f"{count(totals.relations)} and {count(totals.sequences)} sequences",
        "rows": count(totals.rows),
        "needs": ", ".join(manifest.needs),
        "large objects": count(totals.large_objects) if totals.large_objects else "",
        "size": size(totals.bytes),
        "stored": f"{size(totals.stored_bytes)} in {count(totals.chunks)} chunks",
        "new": f"{size(totals.new_bytes)} in {count(totals.new_chunks)} chunks",
    }


def verification(result: VerifyResult) -> Group:
    """A verdict: what it is about, why, and what was compared."""
    summary = facts(
        {
            "verdict": word(result.verdict),
            "backup": f"{result.database} {result.backup_id}",
            "root hash": result.root_hash,
            "size": f"{size(result.bytes)}, {count(result.rows)} rows in {count(result.tables)} tables",
            "date": moment(result.completed),
            "evidence": result.evidence,
            "time": duration(result.seconds),
        }
    )
    return Group(summary, *_findings(result.reasons), *_compared(result))


def _compared(result: VerifyResult) -> list[RenderableType]:
    """What was compared, and what the rehearsal of an upgrade said."""
    rows = ((name.replace("_", " "), count(number)) for name, number in result.compared)
    parts: list[RenderableType] = ["", table("compared", "count", rows=rows, numbers=("count",))]
    if result.upgrade is not None:
        parts += ["", facts({f"PostgreSQL {result.upgrade.major}": word(result.upgrade.verdict)})]
        parts += _findings(result.upgrade.reasons)
    return parts


def plan(found: RestorePlan) -> Group:
    """What a restore will do."""
    verb = "created" if found.creates_database else "empty now, filled"
    swap = found.mode == "swap"
    safety = f"of {found.safety_backup}, first" if found.safety_backup else "none"
    summary = facts(
        {
            "restore": f"{found.database} {found.backup_id}",
            "target": found.target,
            "database": f"{found.target_database} ({'replaced' if swap else verb})",
            "the one in place": f"stays as {found.kept_as}" if swap else None,
            "safety backup": safety if swap else None,
            "roles to create": ", ".join(found.roles_to_create) or "none",
            "roles mapped": ", ".join(f"{old} to {new}" for old, new in found.roles_mapped.items()),
            "content": f"{count(found.tables)} tables, {count(found.rows)} rows, {size(found.bytes)}",
            "time": _estimate(found),
        }
    )
    return Group(summary, *_findings(found.findings))


def _estimate(found: RestorePlan) -> str:
    if found.estimate_seconds is None:
        return found.estimate_basis
    return f"about {duration(found.estimate_seconds)} ({found.estimate_basis})"


def restored(result: RestoreResult, known: Sequence[Finding]) -> Group:
    """A restore that ended, with the findings that aren't known from its plan."""
    new = [finding for finding in result.findings if finding not in known]
    equal = "equal to the backup" if result.digests_equal else "not compared, or not equal"
    summary = facts(
        {
            "status": word(result.status),
            "database": result.target_database,
            "the one before": f"stays as {result.kept_as}" if result.kept_as else None,
            "safety backup": result.safety_backup,
            "content": f"{count(result.tables)} tables, {count(result.rows)} rows, {size(result.bytes)}",
            "digests": Text(equal, style="green" if result.digests_equal else "yellow"),
            "time": duration(result.seconds),
            "of that": ", ".join(f"{name} {duration(seconds)}" for name, seconds in result.phases.items()),
        }
    )
    return Group(summary, *_findings([*result.exceptions, *new]))


def drilled(result: DrillResult) -> Group:
    """A restore that was rehearsed, phase by phase."""
    equal = "equal to the backup" if result.digests_equal else "not equal"
    summary = facts(
        {
            "backup": result.backup_id,
            "server": result.server,
            "content": f"{count(result.rows)} rows, {size(result.bytes)}",
            "digests": Text(equal, style="green" if result.digests_equal else "red"),
            "time": duration(result.seconds),
            "database": f"kept as {result.kept_as}" if result.kept_as else "dropped again",
        }
    )
    longest = max(result.phases.values(), default=0.0)
    rows = (
        (name, duration(seconds), "█" * round(30 * seconds / longest) if longest else "")
        for name, seconds in result.phases.items()
    )
    return Group(summary, "", table("phase", "time", "", rows=rows), *_findings(result.findings))


def rotation(result: RotateResult) -> Group:
    """What happened, or would happen, to each backup."""
    parts: list[RenderableType] = []
    for report in result.reports:
        parts += _rotated(report)
    parts += [Text(f"{name}: {clean(error)}", style="red") for name, error in result.failed.items()]
    return Group(*parts) if parts else Group("no database is registered")


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
    decisions = table("backup", "action", "frees", "why", rows=rows, numbers=("frees",))
    return [Text(title, style="bold"), decisions, sweep, *_more(report)]


def _more(report: RotateReport) -> list[RenderableType]:
    """Locks and damage, where there are any."""
    lines: list[RenderableType] = []
    if report.locked_objects:
        until = f"until {moment(report.locked_until)}" if report.locked_until else "until they are released"
        what = f"{count(report.locked_objects)} objects ({size(report.locked_bytes)})"
        lines.append(f"locked: {what} wait for Object Lock, {until}")
    if report.extended:
        lines.append(f"locks made longer: {', '.join(report.extended)}")
    if report.quarantined_chunks:
        number = f"{count(report.quarantined_chunks)} damaged chunks put aside"
        lines.append(Text(f"{number}: back up again to store their rows afresh", style="yellow"))
    if report.doubted:
        lines.append(Text(f"no longer proven: {', '.join(report.doubted)}", style="yellow"))
    return lines


def health(result: HealthResult) -> Group:
    """The health of each database."""
    rows = (
        (
            entry.database,
            _score(entry.score),
            "yes" if entry.reachable else Text("no", style="red"),
            entry.server_version,
            size(entry.size_bytes),
            count(entry.tables),
            _age(entry.backup_age_seconds),
            _age(entry.proof_age_seconds),
        )
        for entry in result.databases
    )
    columns = ("database", "score", "reachable", "server", "size", "tables", "newest backup", "newest proof")
    parts: list[RenderableType] = [table(*columns, rows=rows, numbers=("score", "size", "tables"))]
    for entry in result.databases:
        parts += [Text(entry.database, style="bold"), findings(entry.reasons)] if entry.reasons else []
    return Group(*parts)


def rechecked(result: RecheckResult) -> Group:
    """What was read again, and what is damaged."""
    rows = (
        (
            entry.database,
            count(entry.chunks),
            size(entry.bytes),
            f"{entry.slices_done} of {entry.slices_due} due, of 256",
            entry.round_started,
            Text(f"{len(entry.findings)} findings", style="red") if entry.findings else "none",
        )
        for entry in result.reports
    )
    columns = ("database", "chunks", "read", "slices", "round began", "damage")
    parts: list[RenderableType] = [table(*columns, rows=rows, numbers=("chunks", "read"))]
    for entry in result.reports:
        parts += [Text(entry.database, style="bold"), findings(entry.findings)] if entry.findings else []
    return Group(*parts)


def objectives(result: ObjectivesReport) -> Group:
    """Targets, what was met, and what that rests on."""
    restores = f"{result.restores_measured} measured" if result.restores_measured else "none was measured"
    if result.restore_bytes_per_second is not None and result.restore_base_seconds is not None:
        rate = size(result.restore_bytes_per_second)
        restores += f": {duration(result.restore_base_seconds)} and {rate} of rows a second"
    rows = [
        (
            "RPO",
            duration(result.rpo_hours * 3600),
            _met(result.proven_exposure_seconds, result.rpo_met),
            f"the worst moment of {result.days} days, by proven backups; "
            f"by all: {duration(result.exposure_seconds) if result.exposure_seconds is not None else 'none'}",
        ),
        (
            "RTO",
            duration(result.rto_minutes * 60) if result.rto_minutes is not None else "not set",
            _met(result.restore_seconds, result.rto_met),
            f"a restore of the newest backup; {restores}",
        ),
    ]
    return Group(table("objective", "target", "met", "by", rows=rows))


def _met(seconds: float | None, met: bool | None) -> Text:
    style = "" if met is None else "green" if met else "red"
    return Text(duration(seconds) if seconds is not None else "unknown", style=style)


def _score(score: int) -> Text:
    return Text(str(score), style="green" if score >= 90 else "yellow" if score >= 60 else "red")


def _age(seconds: float | None) -> Text | str:
    return f"{duration(seconds)} old" if seconds is not None else Text("none", style="yellow")


def databases(registered: Mapping[str, Registration]) -> RenderableType:
    """The registered databases."""
    if not registered:
        return "no database is registered; `coffre databases add NAME --url URL` does it"
    rows = (
        (
            name,
            ", ".join(entry.types),
            entry.prove,
            ", ".join(f"{tier} {number}" for tier, number in entry.retention if number),
            f"{entry.rpo_hours:g} h",
            entry.secret,
        )
        for name, entry in registered.items()
    )
    return table("database", "backups", "prove", "keeps", "RPO", "secret", rows=rows)


def checks(found: Sequence[OwnersCheck]) -> RenderableType:
    """The owner's checks of a database."""
    if not found:
        return "there are no checks; `coffre databases checks NAME --file FILE` sets them"
    rows = ((item.name, item.sql, item.expected_text or "NULL", f"{item.seconds:g} s") for item in found)
    return table("check", "query", "expects", "within", rows=rows)


def local_cloud(info: Mapping[str, Any]) -> Group:
    """Where a local cloud is, and what it holds."""
    failures: Sequence[Mapping[str, str]] = info.get("failures", [])
    summary = facts(
        {
            "endpoint": info["endpoint"],
            "stack": info["stack"],
            "bucket": info["bucket"],
            "table": info["table"],
            "functions": ", ".join(sorted(info["functions"].values())),
            "schedules": ", ".join(sorted(info["schedules"])),
            "process": info["pid"],
            "under way": info.get("under_way", 0),
        }
    )
    rows = ((item["time"], item["kind"], item["target"], item["reason"]) for item in failures)
    return Group(summary, *([table("failed", "kind", "target", "why", rows=rows)] if failures else []))


def _findings(found: Sequence[Finding]) -> list[RenderableType]:
    return ["", findings(found)] if found else []
