"""Loading rows: Coffre's restore against the data phase of pg_restore."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.lab import (
    MAJOR,
    BenchError,
    Lab,
    Timed,
    Vault,
    create_database,
    drop_database,
    execute,
    peer_environment,
    run_pipeline,
)
from bench.report import Goal, Table, ratio, seconds
from coffre.databases.postgresql.target import Target

GOAL = Goal("at least", 1.2)
ROWS = " + ".join(f"(SELECT count(*) FROM {table})" for table in ("narrow", "wide", "events", "lookups"))
OWN = "Coffre"
NOTES = [
    "Coffre's phase `rows` (fetched, checked, unpacked, sent; its workers' start and the sequences included) "
    "against `--section=data`.",
    "The last one includes making the tables.  Where wal_level is minimal pg_restore then writes no WAL for "
    "rows, and neither does Coffre.  What has a standby or an archive, as managed servers do, is at replica: "
    "the goal stands there.",
]


@dataclass
class Loader:
    """A way to load, and the best time of each of its phases."""

    name: str
    act: Callable[[], dict[str, float]]
    best: dict[str, float] = field(default_factory=dict)

    def go(self) -> None:
        """Run once more."""
        for phase, taken in self.act().items():
            self.best[phase] = min(taken, self.best.get(phase, taken))


def measure(lab: Lab) -> Iterator[Table]:
    """Loading the tables of the capture into new databases, with both levels of write-ahead log."""
    with lab.vault() as vault, lab.files() as files:
        with lab.server(wal_level="replica") as server:
            source = lab.fill(server, "source", "sets/mixed.sql", lab.rows())
            lab.say("backing up with both")
            taken = vault.run("backup", database="bench", target=source, number=1)
            packed, plain = (
                _dump(lab, source, files / "packed", "1"),
                _dump(lab, source, files / "plain", "0"),
            )
            loading = Loading(lab, server, vault, int(execute(source, f"SELECT {ROWS}")[0][0]))
            loaders = _run(lab, loading, packed, plain)
        yield _rows_table("Loading rows", loaders, int(taken.result["bytes"]), GOAL)
        yield _phases(loaders)
        with lab.server() as server:
            loaders = _run(lab, replace(loading, server=server), packed, plain)
        title = "Loading rows with wal_level=minimal"
        yield _rows_table(title, loaders, int(taken.result["bytes"]), None)


def _dump(lab: Lab, source: Target, folder: Path, method: str) -> Path:
    """Make pg_dump's archive."""
    _tool(lab, "pg_dump", source, "-Fd", "-j2", "-Z", method, "-f", str(folder))
    return folder


def _tool(lab: Lab, name: str, target: Target, *arguments: str) -> Timed:
    program = str(lab.postgres / f"{MAJOR}/bin/{name}")
    return run_pipeline([[program, *arguments]], peer_environment(target))


def _run(lab: Lab, loading: Loading, packed: Path, plain: Path) -> list[Loader]:
    """Let all of them load, by turns."""
    loaders = [
        Loader(OWN, loading.restore),
        Loader("pg_restore -j2, archive of -Z1", lambda: loading.by_sections(packed)),
        Loader("pg_restore -j2, archive of -Z0", lambda: loading.by_sections(plain)),
        Loader("pg_restore -j2, -Z1, tables made in the same run", lambda: loading.in_one_run(packed)),
    ]
    for number in range(1, lab.repeat + 1):
        for loader in loaders:
            lab.say(f"run {number}: {loader.name}")
            loader.go()
    return loaders


@dataclass(frozen=True)
class Loading:
    """Restores into databases that are dropped again, each checked by its number of rows."""

    lab: Lab
    server: Target
    vault: Vault
    rows: int

    def restore(self) -> dict[str, float]:
        """Coffre's phases."""
        target = replace(self.server, database="restored")
        ran = self.vault.run("restore", database="bench", target=target)
        self._check_and_drop(target)
        phases: dict[str, float] = ran.result["phases"]
        return phases

    def by_sections(self, archive: Path) -> dict[str, float]:
        """pg_restore's sections, one after the other."""
        target = create_database(self.server, "restored")
        phases = {}
        for section, phase in (("pre-data", "schema"), ("data", "rows"), ("post-data", "indexes")):
            phases[phase] = self._restore(target, archive, f"--section={section}").seconds
        self._check_and_drop(target)
        return phases

    def in_one_run(self, archive: Path) -> dict[str, float]:
        """Tables and rows in one run: pg_restore then loads in transactions that need no write-ahead log."""
        target = create_database(self.server, "restored")
        taken = self._restore(target, archive, "--section=pre-data", "--section=data").seconds
        self._check_and_drop(target)
        return {"rows": taken}

    def _restore(self, target: Target, archive: Path, *sections: str) -> Timed:
        where = ["--exit-on-error", "-j2", "-d", target.database]
        return _tool(self.lab, "pg_restore", target, *where, *sections, str(archive))

    def _check_and_drop(self, target: Target) -> None:
        here = int(execute(target, f"SELECT {ROWS}")[0][0])
        drop_database(self.server, target.database)
        execute(self.server, "CHECKPOINT")
        if here != self.rows:
            raise BenchError(f"{here} rows were restored of {self.rows}")


def _rows_table(title: str, loaders: list[Loader], plain: int, goal: Goal | None) -> Table:
    own = loaders[0].best["rows"]
    rows = []
    for number, loader in enumerate(loaders):
        taken = loader.best["rows"]
        shown = ("-", "-") if number == 0 else ("shown as it is", "-")
        wanted, verdict = goal.cells(taken / own) if goal is not None and number == 1 else shown
        compared = "-" if number == 0 else f"{ratio(taken / own)} as fast"
        rows.append([loader.name, seconds(taken), f"{plain / 1e6 / taken:.0f}", compared, wanted, verdict])
    return Table(title, ("way", "best", "MB/s", "Coffre is", "goal", "verdict"), rows, NOTES)


def _phases(loaders: list[Loader]) -> Table:
    own, peer = loaders[0].best, loaders[1].best
    rows = []
    for phase, taken in own.items():
        other = seconds(peer[phase]) if phase in peer else "-"
        rows.append([phase, seconds(taken), other, ratio(taken / own["rows"])])
    notes = ["pg_restore doesn't compare content and doesn't ANALYZE."]
    return Table(
        "Phases of a restore", ("phase", OWN, loaders[1].name, "of Coffre's rows phase"), rows, notes
    )
