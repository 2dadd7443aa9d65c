"""Capturing: Coffre's whole backup against the floor, against pg_dump in pipes, and over TLS."""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import tls
from bench.lab import (
    MAJOR,
    BenchError,
    Lab,
    Ran,
    Timed,
    Vault,
    execute,
    peer_environment,
    remove,
    run_pipeline,
    size_of,
)
from bench.report import Goal, Table, ratio, seconds
from coffre.databases.postgresql.connection import identifier, open_session
from coffre.databases.postgresql.target import Target

SESSIONS = 2
SIZES = """SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
           ORDER BY pg_table_size(oid) DESC"""
AT_GZIP, AT_FAST, AT_FLOOR = Goal("at least", 7), Goal("at least", 1.15), Goal("at most", 2.6)
COLUMNS = ("way", "best", "Coffre is", "MB/s", "client CPU", "stored MB", "runs")


@dataclass
class Contestant:
    """A way to read the tables, and its best run so far."""

    name: str
    act: Callable[[], tuple[Timed, int]]
    runs: int
    best: Timed | None = None
    stored: int = 0
    done: int = 0

    def go(self) -> None:
        """Run once more."""
        timed, self.stored = self.act()
        self.done += 1
        if self.best is None or timed.seconds < self.best.seconds:
            self.best = timed

    @property
    def seconds(self) -> float:
        """Of its best run."""
        if self.best is None:
            raise BenchError(f"{self.name} didn't run")
        return self.best.seconds


def measure(lab: Lab) -> Iterator[Table]:
    """Both tables over the unix socket, then the one over TLS."""
    with lab.server() as server, lab.vault() as vault, lab.files() as files:
        target = lab.fill(server, "capture", "data.sql", lab.rows())
        yield from _local(lab, vault, target, files)
    yield from _over_tls(lab)


def _local(lab: Lab, vault: Vault, target: Target, files: Path) -> Iterator[Table]:
    coffre = Backups(lab, vault, target)
    floor = Contestant(
        f"floor: {SESSIONS} sessions COPY TO '/dev/null'", lambda: (read_floor(target), 0), lab.repeat
    )
    us = Contestant("Coffre, whole backup", coffre.take, lab.repeat)
    gzip = Contestant("pg_dump | gzip -9", _pipe(lab, target, files, ["gzip", "-9"]), 1)
    peers, absent = _fast_peers(lab, target, files)
    field = [floor, us, *peers, gzip]
    compete(lab, field)
    notes = [
        f"{coffre.plain / 1e6:.0f} MB of COPY text in {coffre.tables} tables, {coffre.rows:,} rows; "
        "unix socket; all write to tmpfs.",
        "Coffre's time is its verb's, its clients and the start of its workers included; what Lambda imports "
        "before the first event stands under `imports`.",
        "Client CPU is that of all client processes, pg_dump for the schema included, not the server's.",
        *absent,
    ]
    yield Table("Capture", COLUMNS, [_row(one, us, coffre.plain) for one in field], notes)
    rows = [_goal("pg_dump | gzip -9", gzip.seconds / us.seconds, AT_GZIP)]
    if peers:
        best = min(peers, key=lambda peer: peer.seconds)
        rows.append(_goal(f"the best of the fast peers ({best.name})", best.seconds / us.seconds, AT_FAST))
    rows.append(_goal("the floor (Coffre's time in floors)", us.seconds / floor.seconds, AT_FLOOR))
    yield Table("Capture: goals", ("Coffre against", "ratio", "goal", "verdict"), rows)


def _over_tls(lab: Lab) -> Iterator[Table]:
    if not tls.available():
        yield Table("Capture over TLS", ("way", "note"), [("skipped", f"no PostgreSQL in {tls.PROGRAMS}")])
        return
    with tls.server(lab) as (local, remote, libpq), lab.vault() as vault, lab.files() as files:
        target = lab.fill(local, "capture", "data.sql", lab.rows())
        there = tls.at(remote, target.database)
        environment = peer_environment(there, libpq)
        by_socket, by_tls = Backups(lab, vault, target), Backups(lab, vault, there)
        us = Contestant("Coffre over TLS (verify-full)", by_tls.take, lab.repeat)
        field = [us, Contestant("Coffre over the unix socket", by_socket.take, lab.repeat)]
        field.append(Contestant("floor of this server", lambda: (read_floor(target), 0), lab.repeat))
        if shutil.which("zstd"):
            act = _pipe(lab, there, files, ["zstd", "-1", "-T2", "-q"], major=16, environment=environment)
            field.append(Contestant("pg_dump over TLS | zstd -1 -T2", act, lab.repeat))
        compete(lab, field)
        rows = [_row(one, us, by_tls.plain) for one in field]
        notes = ["PostgreSQL of the machine's own, loopback TCP, TLS 1.3; the same tables. No goal is set."]
        yield Table("Capture over TLS", COLUMNS, rows, notes)


class Backups:
    """First backups of one database, each into an empty vault, each checked against the server's counts."""

    def __init__(self, lab: Lab, vault: Vault, target: Target) -> None:
        self._lab = lab
        self._vault = vault
        self._target = target
        names = [str(row[0]) for row in execute(target, SIZES)]
        self.tables = len(names)
        self.rows = sum(int(execute(target, f"SELECT count(*) FROM {identifier(n)}")[0][0]) for n in names)
        self.plain = 0

    def take(self) -> tuple[Ran, int]:
        """Take one; how long, and the bytes stored."""
        ran = self._vault.run("backup", database="bench", target=self._target, number=1)
        self._vault.clear()
        if ran.result["rows"] != self.rows or ran.result["status"] != "completed":
            raise BenchError(f"the backup holds {ran.result['rows']} rows, the server {self.rows}")
        self.plain = int(ran.result["bytes"])
        return ran, int(ran.result["new_bytes"])


def compete(lab: Lab, field: Sequence[Contestant]) -> None:
    """Let everybody run in turns, so that a slow minute of the machine meets all."""
    for number in range(1, max(one.runs for one in field) + 1):
        for one in field:
            if number <= one.runs:
                lab.say(f"run {number}: {one.name}")
                one.go()


def read_floor(target: Target) -> Timed:
    """Let the server alone do its part: each session takes the largest table that is left."""
    names: queue.SimpleQueue[str] = queue.SimpleQueue()
    for row in execute(target, SIZES):
        names.put(str(row[0]))
    faults: list[Exception] = []

    def read() -> None:
        try:
            with open_session(target, seconds=600, application="bench") as session:
                while True:
                    session.run(f"COPY public.{identifier(names.get_nowait())} TO '/dev/null'")
        except queue.Empty:
            return
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=read) for _ in range(SESSIONS)]
    started, used = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise BenchError(f"the floor could not be measured: {faults[0]}")
    return Timed(time.perf_counter() - started, time.process_time() - used)


def _pipe(
    lab: Lab,
    target: Target,
    files: Path,
    packer: list[str],
    *,
    major: int = MAJOR,
    environment: dict[str, str] | None = None,
) -> Callable[[], tuple[Timed, int]]:
    def act() -> tuple[Timed, int]:
        output = files / "dump"
        dump = [str(lab.postgres / str(major) / "bin/pg_dump")]
        timed = run_pipeline([dump, packer], environment or peer_environment(target), output)
        return timed, _measured(output)

    return act


def _folder_dump(lab: Lab, target: Target, files: Path, method: str) -> Callable[[], tuple[Timed, int]]:
    def act() -> tuple[Timed, int]:
        output = files / "folder"
        dump = [str(lab.postgres / f"{MAJOR}/bin/pg_dump"), "-Fd", "-j2", "-Z", method, "-f", str(output)]
        timed = run_pipeline([dump], peer_environment(target))
        return timed, _measured(output)

    return act


def _fast_peers(lab: Lab, target: Target, files: Path) -> tuple[list[Contestant], list[str]]:
    """The peers that this machine has, and words on those that it hasn't."""
    peers, absent = [], []
    if shutil.which("zstd"):
        pipe = _pipe(lab, target, files, ["zstd", "-1", "-T2", "-q"])
        peers.append(Contestant("pg_dump | zstd -1 -T2", pipe, lab.repeat))
    else:
        absent.append("pg_dump | zstd -1 -T2 was skipped: there is no `zstd` on this machine.")
    for method in ("1", "zstd:1", "lz4"):
        probe = [str(lab.postgres / f"{MAJOR}/bin/pg_dump"), "-s", "-Fc", "-Z", method, "-t", "lookups"]
        try:
            run_pipeline([probe], peer_environment(target))
        except BenchError as error:
            absent.append(f"pg_dump -Fd -j2 -Z {method} was skipped: {str(error).rpartition('error: ')[2]}.")
            continue
        act = _folder_dump(lab, target, files, method)
        peers.append(Contestant(f"pg_dump -Fd -j2 -Z {method}", act, lab.repeat))
    return peers, absent


def _measured(output: Path) -> int:
    size = size_of(output)
    remove(output)
    return size


def _row(one: Contestant, us: Contestant, plain: int) -> list[str]:
    assert one.best is not None
    compared = "-" if one is us else f"{one.seconds / us.seconds:.2f} x as fast"
    stored = f"{one.stored / 1e6:.0f}" if one.stored else "-"
    speed, cpu = f"{plain / 1e6 / one.seconds:.0f}", seconds(one.best.cpu)
    return [one.name, seconds(one.seconds), compared, speed, cpu, stored, str(one.done)]


def _goal(name: str, value: float, goal: Goal) -> list[str]:
    return [name, ratio(value), *goal.cells(value)]
