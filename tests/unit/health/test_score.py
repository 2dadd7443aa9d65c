"""The score is worth what its table says, and a worse fact never raises it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.health.score import TRANSACTION_IDS, Facts, ServerFacts, Slot, score
from coffre.results import Finding

GIB = 2**30
ALARM = 60
"""The template's default for MinHealthScore."""

FINE = ServerFacts(
    version="16.14",
    size_bytes=GIB,
    tables=20,
    connections=10,
    max_connections=100,
    longest_transaction=1.0,
    oldest_database="shop",
    transaction_age=1_000_000,
)
UNREACHABLE = Finding(level="refuse", code="source-unreachable", object="shop", message="refused")
UNANSWERED = Finding(level="warn", code="question-unanswered", object="size", message="refused")
DOWN = Finding(level="refuse", code="endpoint-down", object="https://shop", message="answered 500, not 200")
UNASKED = Finding(level="info", code="endpoint-unasked", object="https://shop", message="no time")
HEALTHY = Facts(database="shop", server=FINE, backup_age=3600, proof_age=3600, rpo_hours=26)
FAILED = "20261120T100000Z-hourly-1f09ab"


def of_server(**changes: object) -> Facts:
    return replace(HEALTHY, server=replace(FINE, **changes))  # type: ignore[arg-type]


def test_a_healthy_database_has_all_points_and_no_reasons() -> None:
    assert score(HEALTHY) == (100, [])


@pytest.mark.parametrize(
    ("facts", "points", "codes"),
    [
        (replace(HEALTHY, backup_age=None, proof_age=None), 20, ["backup-missing", "proof-missing"]),
        (replace(HEALTHY, backup_age=27 * 3600), 40, ["backup-overdue"]),
        (replace(HEALTHY, unlike="from another system"), 55, ["backup-unlike"]),
        (replace(HEALTHY, failed=FAILED, failure="a chunk is damaged"), 55, ["proof-failed"]),
        (replace(HEALTHY, failed=FAILED, failed_before=4), 45, ["proof-failed", "backups-failed"]),
        (replace(HEALTHY, failed_before=1), 90, ["backups-failed"]),
        (replace(HEALTHY, copied=True, copy_age=3600), 100, []),
        (replace(HEALTHY, copied=True, copy_age=27 * 3600), 80, ["copy-overdue"]),
        (replace(HEALTHY, copied=True, copy_age=None), 80, ["copy-overdue"]),
        (replace(HEALTHY, proof_age=None), 80, ["proof-missing"]),
        (replace(HEALTHY, proof_age=27 * 3600), 80, ["proof-overdue"]),
        (replace(HEALTHY, proof_age=None, sample_age=3600), 90, ["proof-sampled"]),
        (replace(HEALTHY, proof_age=27 * 3600, sample_age=3600), 90, ["proof-sampled"]),
        (replace(HEALTHY, sample_age=3600), 100, []),
        (replace(HEALTHY, proof_age=None, sample_age=27 * 3600), 80, ["proof-missing"]),
        (replace(HEALTHY, proof_age=28 * 3600, sample_age=27 * 3600), 80, ["proof-overdue"]),
        (replace(HEALTHY, proof_age=49 * 3600, prove="daily"), 100, []),
        (replace(HEALTHY, proof_age=51 * 3600, prove="daily"), 80, ["proof-overdue"]),
        (replace(HEALTHY, proof_age=None, prove="never"), 100, ["proof-off"]),
        (replace(HEALTHY, rto_minutes=10, restore_seconds=600), 100, []),
        (replace(HEALTHY, rto_minutes=10, restore_seconds=601), 90, ["restore-slow"]),
        (replace(HEALTHY, rto_minutes=10), 100, ["restore-unmeasured"]),
        (replace(HEALTHY, endpoints=(DOWN, DOWN)), 55, ["endpoint-down"] * 2),
        (replace(HEALTHY, endpoints=(UNASKED, DOWN)), 55, ["endpoint-down", "endpoint-unasked"]),
        (replace(HEALTHY, endpoints=(UNASKED,)), 100, ["endpoint-unasked"]),
        (replace(HEALTHY, server=UNREACHABLE), 30, ["source-unreachable"]),
        (of_server(missing_tables=("public.orders",)), 55, ["critical-table-missing"]),
        (of_server(unreadable_tables=("public.orders",)), 55, ["critical-table-unreadable"]),
        (of_server(transaction_age=TRANSACTION_IDS // 2), 85, ["transaction-ids-low"]),
        (of_server(transaction_age=TRANSACTION_IDS * 3 // 4), 55, ["transaction-ids-low"]),
        (of_server(connections=80), 95, ["connections-high"]),
        (of_server(connections=95), 85, ["connections-high"]),
        (of_server(idle_slots=(Slot("old", GIB),)), 90, ["slot-idle"]),
        (of_server(idle_slots=(Slot("old", GIB - 1),)), 100, []),
        (of_server(longest_transaction=3601.0), 95, ["transaction-long"]),
        (of_server(sees_others=False), 100, ["transactions-unseen"]),
        (of_server(unanswered=(UNANSWERED, UNANSWERED)), 90, ["question-unanswered"] * 2),
    ],
)
def test_each_fact_takes_the_points_of_the_table(facts: Facts, points: int, codes: list[str]) -> None:
    found, reasons = score(facts)
    assert (found, [reason.code for reason in reasons]) == (points, codes)


@pytest.mark.parametrize(
    "facts",
    [
        replace(HEALTHY, backup_age=None),
        replace(HEALTHY, backup_age=26.1 * 3600),
        replace(HEALTHY, server=UNREACHABLE),
        replace(HEALTHY, endpoints=(DOWN,)),
        replace(HEALTHY, unlike="from another system"),
        replace(HEALTHY, failed=FAILED, failure="a chunk is damaged"),
        of_server(missing_tables=("public.orders",)),
    ],
)
def test_what_must_not_wait_raises_the_alarm_alone(facts: Facts) -> None:
    points, reasons = score(facts)
    assert points < ALARM
    assert any(reason.level == "refuse" for reason in reasons)


def test_the_gravest_reason_comes_first_and_names_the_tables() -> None:
    facts = of_server(missing_tables=("public.orders", "public.users"), longest_transaction=7200.0)
    _, reasons = score(facts)
    assert [reason.code for reason in reasons] == ["critical-table-missing", "transaction-long"]
    assert "public.users" in reasons[0].message


def test_a_failed_backup_is_named_with_its_reason_and_older_ones_with_their_number() -> None:
    _, (failed, before) = score(replace(HEALTHY, failed=FAILED, failure="ab is damaged", failed_before=4))
    assert (failed.object, failed.message) == (FAILED, f"{FAILED} failed its verification: ab is damaged")
    assert (before.count, before.message) == (4, "4 older backups have the verdict `failed`")
    _, (one,) = score(replace(HEALTHY, failed_before=1))
    assert one.message == "an older backup has the verdict `failed`"


@pytest.mark.parametrize("failed", [{"failed": FAILED}, {"failed_before": 1}, {}])
@pytest.mark.parametrize("age", [None, 27 * 3600])
def test_a_backup_that_lacks_is_told_from_one_that_is_known_to_be_bad(
    failed: dict[str, Any], age: float | None
) -> None:
    _, reasons = score(replace(HEALTHY, backup_age=age, **failed))
    assert ("that isn't known to be bad" in reasons[0].message) == bool(failed)


ages = st.none() | st.floats(0, 400 * 3600)
names = st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(tuple)
servers = st.builds(
    ServerFacts,
    version=st.just("18.4"),
    missing_tables=names,
    unreadable_tables=names,
    connections=st.integers(0, 100),
    max_connections=st.just(100),
    idle_slots=st.lists(st.builds(Slot, st.just("s"), st.integers(0, 8 * GIB)), max_size=3).map(tuple),
    longest_transaction=st.floats(0, 200_000),
    oldest_database=st.just("shop"),
    transaction_age=st.integers(0, TRANSACTION_IDS),
    unanswered=st.lists(st.just(UNANSWERED), max_size=3).map(tuple),
)
facts = st.builds(
    Facts,
    database=st.just("shop"),
    server=servers | st.just(UNREACHABLE),
    backup_age=ages,
    proof_age=ages,
    sample_age=ages,
    rpo_hours=st.floats(0.5, 200),
    prove=st.sampled_from(["every", "daily", "never"]),
    failed=st.sampled_from(["", FAILED]),
    failed_before=st.integers(0, 3),
    endpoints=st.lists(st.sampled_from([DOWN, UNASKED]), max_size=3).map(tuple),
)


def worse_age(data: st.DataObject, age: float | None) -> float | None:
    return None if age is None else data.draw(st.none() | st.floats(age, 2 * age + 3600))


def worse_server(data: st.DataObject, server: ServerFacts) -> ServerFacts:
    """The same server with one thing worse, or nothing."""
    assert server.connections is not None
    assert server.longest_transaction is not None
    assert server.transaction_age is not None
    changes: dict[str, object] = {
        "missing_tables": (*server.missing_tables, "z"),
        "unreadable_tables": (*server.unreadable_tables, "z"),
        "connections": data.draw(st.integers(server.connections, 100)),
        "idle_slots": (*server.idle_slots, Slot("z", data.draw(st.integers(0, 8 * GIB)))),
        "longest_transaction": server.longest_transaction + data.draw(st.floats(0, 90_000)),
        "transaction_age": data.draw(st.integers(server.transaction_age, TRANSACTION_IDS)),
        "unanswered": (*server.unanswered, UNANSWERED),
    }
    name = data.draw(st.sampled_from(sorted(changes)))
    return replace(server, **{name: changes[name]})  # type: ignore[arg-type]


@given(facts, st.data())
def test_a_worse_fact_never_raises_the_score(before: Facts, data: st.DataObject) -> None:
    server: ServerFacts | Finding = before.server
    if isinstance(server, ServerFacts):
        worse: list[ServerFacts | Finding] = [UNREACHABLE, server, worse_server(data, server)]
        server = data.draw(st.sampled_from(worse))
    after = replace(
        before,
        server=server,
        endpoints=(*before.endpoints, data.draw(st.sampled_from([DOWN, UNASKED]))),
        backup_age=worse_age(data, before.backup_age),
        proof_age=worse_age(data, before.proof_age),
        sample_age=worse_age(data, before.sample_age),
        failed=data.draw(st.sampled_from([before.failed, FAILED])),
        failed_before=before.failed_before + data.draw(st.integers(0, 3)),
        rpo_hours=data.draw(st.floats(before.rpo_hours / 2, before.rpo_hours)),
    )
    assert 0 <= score(after)[0] <= score(before)[0] <= 100


@given(facts)
def test_points_are_never_lost_without_a_reason(found: Facts) -> None:
    points, reasons = score(found)
    graded = [reason for reason in reasons if reason.level != "info"]
    assert (points < 100) == bool(graded)
