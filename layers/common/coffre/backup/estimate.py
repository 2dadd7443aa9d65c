"""How long a backup will take, what it will cost, and where it runs.  Pure.

A rate is bytes on the source's disk that one worker reads in a second; the catalogue keeps the one that the
last backup was measured at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from coffre.backup.plan import Batch
from coffre.catalogue.entries import Rate
from coffre.choice import Choice, Runs, Where, by_time
from coffre.prices import Prices
from coffre.vault.scan import ChunkSizes
from coffre.workers import WORKERS

UNMEASURED = Rate("", bytes_per_second=20_000_000, stored_permille=400)
"""Where nothing was measured yet: slower than any server that was tried, so that nothing is promised."""

FUNCTION_SECONDS = 15.0
"""What a backup in one function takes beside the rows: connecting, locks, schema, commit."""

MACHINE_SECONDS = 60.0
BATCH_SECONDS = 3.0
"""What the state machine takes for the whole, and for each batch, beside the rows."""

CAPTURE_GB = 1769 / 1024
BACKUP_GB = 3008 / 1024
HOLD_GB = 512 / 1024
"""Memory of the functions, as the template sets it by default."""

TRANSITIONS, TRANSITIONS_A_BATCH = 12, 4
LEDGER_WRITES_A_BATCH = 8
HOLDER_SECONDS = 2.0
"""The holder reads the ledger that often."""


@dataclass(frozen=True)
class Forecast:
    """What a backup is expected to take.  Requests and dollars by the service's name."""

    seconds: float
    requests: dict[str, int]
    dollars: dict[str, float]
    storage_dollars_month: float


def choose(size: int, rate: Rate, seconds: float, *, runs: Runs = "auto", machine: bool = True) -> Choice:
    """Where a backup of ``size`` bytes runs.

    Parameters
    ----------
    seconds:
        What one function has.
    runs:
        What the registration says.
    machine:
        Whether there is a state machine at all.
    """
    if not machine:
        return Choice("function", "there is no state machine here")
    if runs != "auto":
        return Choice(runs, f"the registration says so (runs: {runs})")
    needed = _function_seconds(size, rate)
    measured = "measured" if rate.measured else "assumed"
    told = f"about {needed:.0f} s at {rate.bytes_per_second / 1e6:.0f} MB/s a worker ({measured})"
    return by_time(needed, seconds, told)


def forecast(where: Where, batches: Sequence[Batch], rate: Rate, *, workers: int, prices: Prices) -> Forecast:
    """Time, requests and dollars of a backup whose chunks are all new."""
    size = sum(batch.size for batch in batches)
    worker_seconds = size / rate.bytes_per_second
    machine = where == "machine"
    if machine:
        starts = BATCH_SECONDS * len(batches)
        longest = max((batch.size for batch in batches), default=0) / rate.bytes_per_second
        seconds = MACHINE_SECONDS + max((worker_seconds + starts) / workers, longest)
        gb_seconds = (worker_seconds + starts) * CAPTURE_GB + seconds * HOLD_GB + MACHINE_SECONDS * BACKUP_GB
    else:
        seconds = _function_seconds(size, rate)
        gb_seconds = seconds * BACKUP_GB
    chunks = sum(_chunks(batch) for batch in batches)
    parts = len(batches) if machine else WORKERS
    requests = {
        "s3 put": chunks + parts * (2 if machine else 1) + 10,
        "s3 get": parts * (3 if machine else 2) + 20,
        "lambda": 1 + (len(batches) + ceil(seconds / 700) + 3 if machine else 0),
        "state transitions": TRANSITIONS + TRANSITIONS_A_BATCH * len(batches) if machine else 0,
        "dynamodb write": 10 + (LEDGER_WRITES_A_BATCH * len(batches) if machine else ceil(seconds / 2)),
        "dynamodb read": 5 + (ceil(seconds / HOLDER_SECONDS) + 4 * len(batches) if machine else 0),
    }
    dollars = {
        "lambda": gb_seconds * prices.lambda_gb_second + requests["lambda"] * prices.lambda_request,
        "step functions": requests["state transitions"] * prices.state_transition,
        "s3": requests["s3 put"] * prices.s3_put + requests["s3 get"] * prices.s3_get,
        "dynamodb": requests["dynamodb write"] * prices.dynamodb_write
        + requests["dynamodb read"] * prices.dynamodb_read,
    }
    stored = size * rate.stored_permille / 1000
    return Forecast(
        round(seconds, 1),
        requests,
        {name: round(value, 4) for name, value in dollars.items()},
        round(stored / 1e9 * prices.s3_gb_month, 4),
    )


def measure(database: str, *, size: int, stored: int, worker_seconds: float, measured: str) -> Rate | None:
    """The rate of a backup that was taken; None if it was too short to tell."""
    if worker_seconds < 2 or size == 0:
        return None
    permille = min(1000, max(1, stored * 1000 // size))
    return Rate(database, max(1, int(size / worker_seconds)), permille, measured)


def _function_seconds(size: int, rate: Rate) -> float:
    return FUNCTION_SECONDS + size / (rate.bytes_per_second * WORKERS)


def _chunks(batch: Batch) -> int:
    """Chunks that the rows will make, at the average size."""
    shared = {item.shared for item in batch.items if item.shared}
    alone = (item for item in batch.items if not item.shared)
    return len(shared) + sum(ceil(item.size / ChunkSizes.for_relation(item.whole).target) for item in alone)
