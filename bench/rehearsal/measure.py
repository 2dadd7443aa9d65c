"""Rehearse every step at full size, with a tenth of the tables, and with a tenth of the backups."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import boto3

from bench import runtime
from bench.lab import ROOT, BenchError, Lab
from bench.rehearsal.bucket import COUNTS
from bench.rehearsal.run import Rehearsal
from bench.report import Goal, Table, mebibytes

TABLES, BACKUPS, SHARE = 100_000, 500, 10
MEMORY = Goal("at most", 512, "MiB")
LINEAR = Goal("at most", 15)
"""Of a tenth's time or requests: a step with a square in it would take a hundred times as much."""

SHORT = 2.0
"""Seconds below which a step's time is its start's, and tells nothing of its growth."""

BEFORE = ("plan",)
CAPTURED = ("commit", "known")
ALL = ("rebuild", "retention", "verify", "prove", "recheck", "mark", "purge")
LIMIT_SECONDS = 3600.0


@dataclass(frozen=True)
class Took:
    """What a step took; ``cpu``: seconds of its own process; requests to S3 by their kind."""

    seconds: float
    cpu: float
    peak: int
    s3: dict[str, int]
    dynamodb: int

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.s3.values()) + self.dynamodb


def measure(lab: Lab) -> Iterator[Table]:
    """The table of all steps."""
    newest = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    tables, backups = (max(5 * SHARE, int(number * lab.factor)) for number in (TABLES, BACKUPS))
    full = Rehearsal(tables, backups, newest)
    sizes = {
        "all": full,
        "tables": replace(full, tables=max(1, tables // SHARE)),
        "backups": replace(full, backups=max(5, backups // SHARE)),
    }
    found, chunks = {}, {}
    for name, size in sizes.items():
        with _World(lab).running() as world:
            found[name], chunks[name] = world.rehearse(size)
    yield _table(found, sizes, chunks["all"])


class _World:
    """A bucket and a table on this machine, and what they hold."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._folder = Path(tempfile.mkdtemp(prefix="rehearsal-", dir=lab.scratch))
        self._environment: dict[str, str] = {}
        self._bucket = ""

    @contextmanager
    def running(self) -> Iterator[_World]:
        """Serve both."""
        file = self._folder / "bucket.sqlite"
        with (
            _serving("bench.rehearsal.bucket", str(file)) as bucket,
            _serving("bench.rehearsal.table") as table,
        ):
            self._bucket = f"http://127.0.0.1:{bucket}"
            self._environment = {
                **runtime.environment(),
                "AWS_ENDPOINT_URL_S3": self._bucket,
                "AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{table}",
                "AWS_ACCESS_KEY_ID": "bench",
                "AWS_SECRET_ACCESS_KEY": "bench",
                "AWS_DEFAULT_REGION": "us-east-1",
                "COFFRE_STACK": "bench",
                "COFFRE_BUCKET": "bench",
                "COFFRE_TABLE": "bench",
                "COFFRE_POSTGRES": str(self._lab.postgres),
                "COFFRE_SCRATCH": str(self._folder),
            }
            try:
                yield self
            finally:
                shutil.rmtree(self._folder, ignore_errors=True)

    def rehearse(self, size: Rehearsal) -> tuple[dict[str, Took], int]:
        """All steps in their order; and how many chunks the backup has."""
        self._lab.say(f"{size.tables:,} tables, {size.backups} backups")
        self._make_table()
        took = {name: self._step(name, size) for name in BEFORE}
        chunks = self._fill("capture", size, 0)
        took |= {name: self._step(name, size) for name in CAPTURED}
        self._fill("clone", size, chunks)
        self._counts()
        took |= {name: self._step(name, size) for name in ALL}
        return took, chunks

    def _make_table(self) -> None:
        keys = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
        make = boto3.client(
            "dynamodb",
            endpoint_url=self._environment["AWS_ENDPOINT_URL_DYNAMODB"],
            region_name="us-east-1",
            aws_access_key_id="bench",
            aws_secret_access_key="bench",
        ).create_table
        make(
            TableName="bench",
            AttributeDefinitions=keys,
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )

    def _fill(self, what: str, size: Rehearsal, chunks: int) -> int:
        order = {**size.order, "chunks": chunks}
        file = str(self._folder / "bucket.sqlite")
        return int(self._run(["bench.rehearsal.history", what, file], order))

    def _step(self, name: str, size: Rehearsal) -> Took:
        self._counts()
        answer = json.loads(self._run(["bench.rehearsal.steps", name], size.order))
        took = Took(**answer, s3=self._counts())
        told = f"{took.seconds:.1f} s, {took.cpu:.1f} s of the processor, {mebibytes(took.peak)}"
        self._lab.say(f"{name}: {told}, {took.requests:,} requests")
        return took

    def _counts(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self._bucket}/{COUNTS}") as answer:  # noqa: S310 - our own server
            counts: dict[str, int] = json.load(answer)
        return counts

    def _run(self, module: list[str], order: dict[str, object]) -> str:
        done = subprocess.run(
            [str(self._lab.python), "-m", *module],
            input=json.dumps(order),
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=self._environment,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"{' '.join(module)} ended with status {done.returncode}")
        return done.stdout


@contextmanager
def _serving(module: str, *arguments: str) -> Iterator[int]:
    """A server in a process of its own; its port."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def _table(found: dict[str, dict[str, Took]], sizes: dict[str, Rehearsal], chunks: int) -> Table:
    full = sizes["all"]
    rows = []
    for name, took in found["all"].items():
        growth = [_growth(took, found[other][name]) for other in ("tables", "backups")]
        linear = all(LINEAR.reached(value) for pair in growth for value in pair)
        reached = linear and MEMORY.reached(took.peak / (1 << 20))
        rows.append(
            [
                name,
                f"{took.seconds:.1f} s",
                f"{took.cpu:.1f} s",
                mebibytes(took.peak),
                ", ".join(f"{number:,} {kind}" for kind, number in sorted(took.s3.items())),
                f"{took.dynamodb:,}",
                *(f"{time:.1f} x, {requests:.1f} x" for time, requests in growth),
                "reached" if reached else "missed",
            ]
        )
    columns = (
        "step",
        "time",
        "processor",
        "peak memory",
        "S3",
        "DynamoDB",
        "of a tenth of the tables",
        "of a tenth of the backups",
        f"{MEMORY.relation} {MEMORY.limit:g} MiB, no square",
    )
    notes = [
        f"{full.tables:,} tables, {chunks:,} chunks, {full.backups} backups of them in the vault.",
    ]
    return Table("Scale rehearsal", columns, rows, notes)


def _growth(full: Took, tenth: Took) -> tuple[float, float]:
    """How much more processor time and requests the full size takes.

    Short steps tell nothing of time; the clock would tell of the machine's other work.
    """
    time = full.cpu / tenth.cpu if full.cpu > SHORT else 1.0
    return time, full.requests / max(1, tenth.requests)
