"""Databases, their checks, health and objectives as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from coffre_cli.output import count, duration, size
from coffre_cli.tables import findings, table

if TYPE_CHECKING:
    from coffre.databases.registration import OwnersCheck, Registration
    from coffre.databases.registry import Registered
    from coffre.results import (
        HealthReport,
        HealthResult,
        ObjectivesReport,
    )


NONE_REGISTERED = "no database is registered; `coffre databases add NAME --url URL` does it"


def databases(registered: Registered) -> list[RenderableType]:
    """The registered databases, and what is wrong with a registration."""
    faults = [Text(str(error), style="red") for error in registered.invalid.values()]
    if not registered.valid:
        return [*faults] or [NONE_REGISTERED]
    rows = (
        (
            name,
            ", ".join(entry.types),
            entry.prove,
            ", ".join(f"{tier} {number}" for tier, number in entry.retention if number),
            f"{entry.rpo_hours:g} h",
            entry.secret,
        )
        for name, entry in registered.valid.items()
    )
    names = ("database", "backups", "prove", "keeps", "RPO", "secret")
    return [table(*names, rows=rows, whole=("database",)), *faults]


def checks(found: Sequence[OwnersCheck]) -> RenderableType:
    """The owner's checks of a database."""
    if not found:
        return "there are no checks; `coffre databases checks NAME --file FILE` sets them"
    rows = ((item.name, item.sql, item.expected_text or "NULL", f"{item.seconds:g} s") for item in found)
    return table("check", "query", "expects", "within", rows=rows)


def seal(name: str, entry: Registration) -> RenderableType:
    """The KMS key that new backups of a database are sealed with."""
    if entry.seal_key is None:
        return f"new backups of {name} are not sealed"
    since = f", by data keys made since {entry.seal_since:%Y-%m-%d %H:%M} UTC" if entry.seal_since else ""
    return f"new backups of {name} are sealed with {entry.seal_key}{since}"


def health(result: HealthResult) -> Group:
    """The health of each database; that of copies only where the vault has one."""
    copied = any(entry.copied for entry in result.databases)
    rows = (
        (
            entry.database,
            _score(entry.score),
            "yes" if entry.reachable else Text("no", style="red"),
            entry.server_version,
            size(entry.size_bytes),
            count(entry.tables),
            _age(entry.backup_age_seconds),
            _proof_age(entry),
            *([_age(entry.copy_age_seconds)] if copied else []),
        )
        for entry in result.databases
    )
    ages = ("newest backup", "newest proof", *(["newest copy"] if copied else []))
    columns = ("database", "score", "reachable", "server", "size", "tables", *ages)
    numbers = ("score", "size", "tables")
    parts: list[RenderableType] = [
        table(*columns, rows=rows, numbers=numbers, whole=("database",), none=NONE_REGISTERED)
    ]
    for entry in result.databases:
        parts += ["", Text(entry.database, style="bold"), findings(entry.reasons)] if entry.reasons else []
    return Group(*parts)


def _score(score: int) -> Text:
    return Text(str(score), style="green" if score >= 90 else "yellow" if score >= 60 else "red")


def _proof_age(entry: HealthReport) -> Text | str:
    """Of the newest proof; of the newest sample where there is none, and said so."""
    if entry.proof_age_seconds is None and entry.sample_age_seconds is not None:
        return Text(f"a sample, {duration(entry.sample_age_seconds)} old", style="yellow")
    return _age(entry.proof_age_seconds)


def _age(seconds: float | None) -> Text | str:
    return f"{duration(seconds)} old" if seconds is not None else Text("none", style="yellow")


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
    return Group(table("objective", "target", "measured", "by", rows=rows))


def _met(seconds: float | None, met: bool | None) -> Text:
    """What was measured, and in words whether that is enough: not every terminal has colours."""
    told = duration(seconds) if seconds is not None else "nothing"
    if met is None:
        return Text(told)
    return Text(f"{told}, {'met' if met else 'missed'}", style="green" if met else "red")
