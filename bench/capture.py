"""Capturing: Coffre's whole backup against the floor and other programs, for each data set, and over TLS."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import peers, tls
from bench.contest import COLUMNS, NOTES, Backups, Contestant, compete, cpu_per_gb, floor
from bench.lab import ROWS, Lab, peer_environment
from bench.report import Goal, Table, ratio
from coffre.databases.postgresql.target import Target

AT_GZIP, FIRST, AT_FLOOR = Goal("at least", 7), Goal("at least", 1), Goal("at most", 2.2)
MIXED_FIRST, MIXED_FLOOR = Goal("at least", 1.15), Goal("at most", 2.6)
AHEAD, AHEAD_ON = 1.3, Goal("at least", 2, "data sets")
AT_CPU, AT_CUSTOM = Goal("at most", 6, "CPU s/GB"), Goal("at most", 1.5)


@dataclass(frozen=True)
class DataSet:
    """Tables that are measured.

    ``numbers`` are those of its script at factor 1; ``lead`` is the goal against the best peer, ``floors``
    the one in floors.
    """

    name: str
    title: str
    numbers: dict[str, int]
    lead: Goal = FIRST
    floors: Goal | None = None

    def fill(self, lab: Lab, server: Target) -> Target:
        """Make its database."""
        numbers = {name: max(20, int(number * lab.factor)) for name, number in self.numbers.items()}
        return lab.fill(server, self.name, f"sets/{self.name}.sql", numbers)


SETS = (
    DataSet("mixed", "narrow and wide rows, events and lookups", ROWS, MIXED_FIRST, MIXED_FLOOR),
    DataSet("narrow", "narrow rows", {"rows": 24_000_000}, floors=AT_FLOOR),
    DataSet("wide", "wide JSON and text rows", {"rows": 4_400_000}, floors=AT_FLOOR),
    DataSet("giant", "one giant table", {"rows": 26_000_000}),
    DataSet("small", "5,000 small tables", {"tables": 5000}),
    DataSet("blobs", "bytea and large objects", {"files": 10_800}),
)
"""1 GB of COPY text in the mixed rows, 29 MB in the small tables; 2 GB in the others, so that what a backup
takes whatever its size shows less."""


@dataclass
class Verdicts:
    """What the goals are judged by, gathered over the data sets."""

    rows: list[list[str]] = field(default_factory=list)
    ahead: int = 0

    def add(self, name: str, value: float, goal: Goal) -> None:
        """One goal."""
        self.rows.append([name, ratio(value) if goal.unit == "x" else f"{value:.1f}", *goal.cells(value)])


def measure(lab: Lab) -> Iterator[Table]:
    """Two tables for each data set, then the goals."""
    verdicts = Verdicts()
    for data in SETS:
        yield _local(lab, data, verdicts)
        yield _elsewhere(lab, data)
    verdicts.add(f"{AHEAD} times the best peer, on", verdicts.ahead, AHEAD_ON)
    yield Table("Capture: goals", ("Coffre against", "ratio", "goal", "verdict"), verdicts.rows)


def _local(lab: Lab, data: DataSet, verdicts: Verdicts) -> Table:
    with lab.server() as server, lab.vault() as vault, lab.files() as files:
        target = data.fill(lab, server)
        backups, dumps = Backups(vault, target), peers.Dumps(lab, target, files)
        us, lowest = Contestant("Coffre, whole backup", backups.take, lab.repeat), floor(lab, target)
        others, absent = peers.dumpers(dumps)
        gzip = Contestant("pg_dump | gzip -9", dumps.piped(["gzip", "-9"]), 1)
        everybody = [lowest, us, *others, gzip]
        compete(lab, everybody)
    notes = [*_about(backups), "Over the unix socket; all write to tmpfs.", *NOTES, *absent]
    _judge(data, verdicts, us=us, lowest=lowest, others=[*others, gzip], plain=backups.plain)
    return Table(f"Capture: {data.title}", COLUMNS, [one.row(us, backups.plain) for one in everybody], notes)


def _judge(
    data: DataSet,
    verdicts: Verdicts,
    *,
    us: Contestant,
    lowest: Contestant,
    others: list[Contestant],
    plain: int,
) -> None:
    best = min(others, key=lambda peer: peer.seconds)
    lead = best.seconds / us.seconds
    verdicts.ahead += lead >= AHEAD and data.lead is FIRST
    verdicts.add(f"{data.title}: the best peer ({best.name})", lead, data.lead)
    if data.floors is not None:
        floors = us.seconds / lowest.seconds
        verdicts.add(f"{data.title}: pg_dump | gzip -9", others[-1].seconds / us.seconds, AT_GZIP)
        verdicts.add(f"{data.title}: the floor (Coffre's time in floors)", floors, data.floors)
    if data.name == "wide":
        verdicts.add(f"{data.title}: client processor time", cpu_per_gb(us.timed, plain), AT_CPU)
    if data.name == "small":
        custom = next(peer for peer in others if peer.name == "pg_dump -Fc")
        verdicts.add(f"{data.title}: Coffre's time in pg_dump -Fc's", us.seconds / custom.seconds, AT_CUSTOM)


def _elsewhere(lab: Lab, data: DataSet) -> Table:
    """On the machine's own server, which knows TLS and whose files pgBackRest knows."""
    title = f"Capture over TLS, and other kinds of programs: {data.title}"
    if not tls.available():
        return Table(title, ("way", "note"), [("skipped", f"no PostgreSQL in {tls.PROGRAMS}")])
    with tls.server(lab) as (local, remote, libpq), lab.vault() as vault, lab.files() as files:
        files.chmod(0o755)
        target = data.fill(lab, local)
        there = tls.at(remote, target.database)
        by_tls = Backups(vault, there)
        us = Contestant("Coffre over TLS (verify-full)", by_tls.take, lab.repeat)
        everybody = [
            us,
            Contestant("Coffre over the unix socket", Backups(vault, target).take, lab.repeat),
        ]
        everybody += [floor(lab, target), *_dumped_over_tls(lab, there, libpq, files)]
        absent = []
        for found, missing in (
            peers.copier(lab, local, target, files),
            peers.physical(lab, local, libpq.parent / "data", files),
        ):
            everybody += found
            absent += missing
        compete(lab, everybody)
    notes = [
        *_about(by_tls),
        "PostgreSQL of the machine's own, loopback TCP, TLS 1.3, wal_level=replica. No goal is set.",
        "pgcopydb also loads the rows into another database of the server and makes its indexes; pgBackRest "
        "copies all files of the server, indexes included, and can't restore into another major version.",
        *absent,
    ]
    return Table(title, COLUMNS, [one.row(us, by_tls.plain) for one in everybody], notes)


def _dumped_over_tls(lab: Lab, there: Target, libpq: Path, files: Path) -> list[Contestant]:
    if not shutil.which("zstd"):
        return []
    dumps = peers.Dumps(lab, there, files, major=16, environment=peer_environment(there, libpq))
    return [Contestant("pg_dump over TLS | zstd -1 -T2", dumps.piped(peers.ZSTD), lab.repeat)]


def _about(backups: Backups) -> list[str]:
    return [
        f"{backups.plain / 1e6:.0f} MB of COPY text in {backups.tables:,} tables, {backups.rows:,} rows.",
        "Coffre's time is its verb's, its clients and the start of its workers included; what Lambda imports "
        "before the first event stands under `imports`.",
    ]
