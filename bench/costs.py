"""What a first backup of 10 GB to 5 TB is expected to take and to cost, by the estimate of `coffre plan`."""

from __future__ import annotations

from collections.abc import Iterator

from bench.contest import Backups
from bench.lab import Lab, execute
from bench.report import Table
from coffre.backup.estimate import UNMEASURED, choose, forecast
from coffre.backup.plan import plan_batches
from coffre.catalogue.entries import Rate
from coffre.databases.postgresql.inventory import Found
from coffre.databases.registration import Registration
from coffre.prices import load_prices
from coffre.vault.parts import Relation
from coffre.workers import WORKERS

SIZES = {"10 GB": 10**10, "100 GB": 10**11, "1 TB": 10**12, "5 TB": 5 * 10**12}
LARGE, MIDDLE, SMALL = 1, 8, 1000
"""Tables: a half of the bytes lies in one, a quarter in eight, a quarter in a thousand."""

PAGE_BYTES = 8192
FUNCTION_SECONDS = 895.0
MANY = 32
"""Workers of the state machine where its owner allows more than the usual number."""

COLUMNS = (
    "on disk",
    "rate a worker",
    "where",
    "workers",
    "time",
    "S3 PUTs",
    "Lambda",
    "Step Functions",
    "S3 requests",
    "DynamoDB",
    "together",
    "storage a month",
)


def measure(lab: Lab) -> Iterator[Table]:
    """Measure this machine's rate, then predict."""
    rate = _measured(lab)
    usual = Registration(secret="-").concurrency
    rows = [_row(name, rate, usual) for name in SIZES]
    rows.append(_row("5 TB", rate, MANY))
    rows += [_row(name, UNMEASURED, usual) for name in SIZES]
    prices = load_prices()
    notes = [
        "The first rate was measured here, with two workers beside the server on this machine's processors; "
        f"the backup stored {rate.stored_permille / 10:.0f} % of the bytes on disk. With few rows its start "
        "weighs in. The other rate is what is assumed before a database's first backup. Both count bytes on "
        "the source's disk.",
        f"Prices of {prices.region} as of {prices.as_of} ({prices.source}), without free tiers and taxes; "
        "traffic out of the source's zone, its load, NAT and logs aren't in it.",
        "All chunks are new, as in a first backup. Later ones read all rows, too, but PUT only what changed.",
        "Half of the bytes lie in one table, a quarter in 8, a quarter in 1,000. Time on the state machine "
        "falls with the number of workers as long as the source and its disk keep up: that isn't modelled.",
        "Verifications and proofs aren't in it.",
    ]
    yield Table("Predicted time and cost of a first backup", COLUMNS, rows, notes)


def _measured(lab: Lab) -> Rate:
    """How fast one worker reads on this machine."""
    with lab.server() as server, lab.vault() as vault:
        target = lab.fill(server, "costs", "sets/mixed.sql", lab.rows())
        size = "SELECT sum(pg_table_size(oid)) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        on_disk = int(execute(target, f"{size} AND relkind = 'r'")[0][0])
        backups = Backups(vault, target)
        ran, stored = min((backups.take() for _ in range(lab.repeat)), key=lambda run: run[0].seconds)
    each = on_disk / (ran.seconds * WORKERS)
    return Rate("bench", int(each), stored * 1000 // on_disk, "here")


def _row(name: str, rate: Rate, concurrency: int) -> list[str]:
    size = SIZES[name]
    choice = choose(size, rate, FUNCTION_SECONDS)
    workers = concurrency if choice.where == "machine" else WORKERS
    made = forecast(choice.where, plan_batches(_tables(size)), rate, workers=workers, prices=load_prices())
    services = [made.dollars[service] for service in ("lambda", "step functions", "s3", "dynamodb")]
    return [
        name,
        f"{rate.bytes_per_second / 1e6:.0f} MB/s, {'measured' if rate.measured else 'assumed'}",
        "one function" if choice.where == "function" else "state machine",
        str(workers),
        _duration(made.seconds),
        f"{made.requests['s3 put']:,}",
        *(f"${dollars:.2f}" for dollars in services),
        f"${sum(services):.2f}",
        f"${made.storage_dollars_month:.2f}",
    ]


def _tables(size: int) -> list[Found]:
    each = [size // 2] * LARGE + [size // 4 // MIDDLE] * MIDDLE + [size // 4 // SMALL] * SMALL
    return [
        Found(Relation(number, "table", "public", f"t{number}", "me"), one, one // PAGE_BYTES)
        for number, one in enumerate(each)
    ]


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"
