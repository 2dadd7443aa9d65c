"""`coffre plan`."""

from __future__ import annotations

from coffre.results import BackupPlan, PlannedBatch, SnapshotCost
from tests.unit.cli.conftest import World

PLAN = BackupPlan(
    database="shop",
    where="function",
    reason="about 16 s at 20 MB/s a worker (assumed): it fits into one function",
    relations=7,
    bytes=30_000_000,
    batches=9,
    listed=[
        PlannedBatch(
            number=1, relations=["public.orders"], more=0, pages=(0, None), bytes=20_000_000, seconds=1
        ),
        PlannedBatch(number=2, relations=["public.a"], more=5, pages=None, bytes=10_000_000, seconds=0.5),
    ],
    workers=2,
    seconds=16,
    rate=20_000_000,
    measured="",
    requests={"s3 put": 40, "state transitions": 0},
    dollars={"lambda": 0.01, "s3": 0.002},
    storage_dollars_month=0.1,
    prices_as_of="2025-01-15",
    snapshot=SnapshotCost(seconds=16, tables=8, dead_rows=1200, oldest_transactions=3),
)


def test_a_plan_shows_batches_time_requests_dollars_and_what_the_snapshot_costs(world: World) -> None:
    world.functions.answers["backup"] = lambda _: PLAN.answer()
    assert world.run("plan", "shop", "--json").document == PLAN.answer()
    assert world.functions.calls == [("backup", {"action": "plan", "database": "shop"}, True)]
    shown = world.run("plan", "shop").out
    for text in (
        "fits into one function",
        "public.orders, pages 0 to the end",
        "public.a and 5 more",
        "and 7 more batches",
        "$0.0120",
        "2025-01-15",
        "40 s3 put",
        "1,200 dead rows",
        "8 tables locked",
    ):
        assert text in shown
    assert "transitions," not in shown.split("requests")[1].split("\n")[0]
