"""Contestants that read the same tables, and what all of their tables show."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.lab import BenchError, Lab, Ran, Timed, Vault, execute
from bench.report import seconds
from coffre.backup.estimate import CAPTURE_GB
from coffre.databases.postgresql.connection import identifier, open_session
from coffre.databases.postgresql.target import Target
from coffre.prices import load_prices

SESSIONS = 2
SPLIT_PAGES = 1 << 17
"""A table of 1 GiB or more is read in as many pieces as there are sessions, as others do it, too."""

SIZES = """SELECT relname, relpages FROM pg_class
           WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY pg_table_size(oid) DESC"""
COUNT = """CREATE FUNCTION pg_temp.count_all() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE name regclass; rows bigint; total bigint := 0;
BEGIN
  FOR name IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
    EXECUTE format('SELECT count(*) FROM %s', name) INTO rows;
    total := total + rows;
  END LOOP;
  RETURN total;
END $$"""
COLUMNS = (
    "way",
    "best",
    "Coffre is",
    "MB/s",
    "client CPU",
    "CPU s/GB",
    "Lambda $/TB",
    "stored MB",
    "runs",
)
NOTES = (
    "Client CPU is that of all client processes, pg_dump for the schema included, not the server's; CPU s/GB "
    "is by GB of COPY text.",
    f"Lambda dollars a TB are what that processor time costs at {CAPTURE_GB * 1024:.0f} MB, which is one "
    "processor of Lambda's; waiting isn't in it.",
)


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
    def timed(self) -> Timed:
        """Its best run."""
        if self.best is None:
            raise BenchError(f"{self.name} didn't run")
        return self.best

    @property
    def seconds(self) -> float:
        """Of its best run."""
        return self.timed.seconds

    def row(self, us: Contestant, plain: int) -> list[str]:
        """Its line among `COLUMNS`.

        Parameters
        ----------
        us:
            Whom it is compared with.
        plain:
            Bytes of COPY text.
        """
        cpu = cpu_per_gb(self.timed, plain)
        return [
            self.name,
            seconds(self.seconds),
            "-" if self is us else f"{self.seconds / us.seconds:.2f} x as fast",
            f"{plain / 1e6 / self.seconds:.0f}",
            seconds(self.timed.cpu),
            f"{cpu:.1f}",
            f"{lambda_dollars(cpu):.3f}",
            f"{self.stored / 1e6:.0f}" if self.stored else "-",
            str(self.done),
        ]


def cpu_per_gb(timed: Timed, plain: int) -> float:
    """Seconds of the processor for a GB of COPY text."""
    return timed.cpu / (plain / 1e9)


def lambda_dollars(cpu: float) -> float:
    """What a TB costs on Lambda that takes ``cpu`` seconds of one processor a GB."""
    return cpu * 1000 * CAPTURE_GB * load_prices().lambda_gb_second


class Backups:
    """First backups of one database, each into an empty vault, each checked against the server's counts."""

    def __init__(self, vault: Vault, target: Target) -> None:
        self._vault = vault
        self._target = target
        self.tables = len(execute(target, SIZES))
        self.rows = int(execute(target, COUNT, "SELECT pg_temp.count_all()")[0][0])
        self.plain = 0

    def take(self) -> tuple[Ran, int]:
        """Take one; how long, and the bytes stored."""
        ran = self._vault.run("backup", database="bench", target=self._target, number=1)
        stored = sum(path.stat().st_size for path in self._vault.folder.iterdir())
        self._vault.clear()
        if ran.result["rows"] != self.rows or ran.result["status"] != "completed":
            raise BenchError(f"the backup holds {ran.result['rows']} rows, the server {self.rows}")
        self.plain = int(ran.result["bytes"])
        return ran, stored


def compete(lab: Lab, field: Sequence[Contestant]) -> None:
    """Let everybody run in turns, so that a slow minute of the machine meets all."""
    for number in range(1, max(one.runs for one in field) + 1):
        for one in field:
            if number <= one.runs:
                lab.say(f"run {number}: {one.name}")
                one.go()


def floor(lab: Lab, target: Target) -> Contestant:
    """The server alone."""
    return Contestant(
        f"floor: {SESSIONS} sessions COPY TO '/dev/null'", lambda: (_read_floor(target), 0), lab.repeat
    )


def _read_floor(target: Target) -> Timed:
    """Let the server alone do its part: each session takes the largest piece that is left."""
    work: queue.SimpleQueue[str] = queue.SimpleQueue()
    for statement in _copies(target):
        work.put(statement)
    faults: list[Exception] = []

    def read() -> None:
        try:
            with open_session(target, seconds=600, application="bench") as session:
                while True:
                    session.run(work.get_nowait())
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


def _copies(target: Target) -> Iterator[str]:
    for name, pages in execute(target, SIZES):
        table = f"public.{identifier(str(name))}"
        if int(pages) < SPLIT_PAGES:
            yield f"COPY {table} TO '/dev/null'"
            continue
        step = -(-int(pages) // SESSIONS)
        for first in range(0, int(pages), step):
            where = f"ctid >= '({first},0)' AND ctid < '({first + step},0)'"
            yield f"COPY (SELECT * FROM {table} WHERE {where}) TO '/dev/null'"
