"""The verdict of a load test never says more than was measured."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.loadtest.judge import Measured, judge, overall
from coffre.results import Finding, Part, Span
from tests.unit.loadtest.conftest import URL, measured, objectives, one_round, proof, restored, seen

FAULT = Finding(level="refuse", code="object-missing", object="restore", message="chunk 5f is gone")
BUSY = Finding(level="warn", code="lease-held", object="backup", message="another run works on it")


def verdicts(found: Measured) -> tuple[str, dict[str, str], list[str]]:
    """The verdict, that of each part, and the codes of the reasons."""
    verdict, parts, reasons = judge(found)
    return verdict, {part.name: part.verdict for part in parts}, [reason.code for reason in reasons]


def test_everything_that_was_measured_and_good_is_met() -> None:
    verdict, parts, reasons = verdicts(measured())
    assert verdict == "met"
    assert set(parts.values()) == {"met"}
    assert reasons == []


@pytest.mark.parametrize(
    ("changed", "part", "verdict", "code"),
    [
        ({"rounds": [one_round(proof=proof("failed"))]}, "integrity", "missed", "proof-failed"),
        (
            {"rounds": [one_round(proof=proof("inconclusive"))]},
            "integrity",
            "inconclusive",
            "proof-inconclusive",
        ),
        (
            {"rounds": [one_round(restore=restored(digests_equal=False))]},
            "integrity",
            "missed",
            "digests-not-equal",
        ),
        ({"rounds": [one_round(restore=None, fault=FAULT)]}, "integrity", "missed", "object-missing"),
        (
            {"rounds": [one_round(backup=None, proof=None, restore=None, fault=BUSY)]},
            "integrity",
            "inconclusive",
            "lease-held",
        ),
        ({"rounds_asked": 2}, "integrity", "inconclusive", None),
        ({"objectives": objectives(proven_exposure_seconds=100_000)}, "RPO", "missed", "rpo-missed"),
        ({"objectives": objectives(proven_exposure_seconds=None)}, "RPO", "missed", "rpo-missed"),
        ({"objectives": objectives(rto_minutes=None)}, "RTO", "inconclusive", "no-rto"),
        ({"objectives": objectives(rto_minutes=0.25)}, "RTO", "missed", "rto-missed"),
        ({"rounds": [one_round(restore=None)]}, "RTO", "inconclusive", "restore-not-measured"),
        ({"endpoints": 0, "watched": [seen("source")]}, "availability", "not measured", "no-endpoints"),
        (
            {"watched": [seen("endpoint", 99), seen("source")]},
            "availability",
            "missed",
            "availability-missed",
        ),
        ({"watched": [seen("endpoint"), seen("source", 99)]}, "source", "missed", "source-missed"),
        ({"watched": [seen("endpoint")]}, "source", "inconclusive", "source-unseen"),
        ({"endpoints": 2}, "availability", "inconclusive", "availability-unseen"),
        ({"unasked": 12}, "availability", "inconclusive", "availability-unasked"),
    ],
)
def test_what_is_not_met_says_so_and_why(
    changed: dict[str, Any], part: str, verdict: str, code: str | None
) -> None:
    whole, parts, reasons = verdicts(measured(**changed))
    assert parts[part] == verdict
    assert whole == ("missed" if "missed" in parts.values() else "inconclusive")
    assert code is None or code in reasons


def test_a_wrong_answer_names_who_gave_it_how_often_and_for_how_long() -> None:
    _, parts, reasons = judge(measured(watched=[seen("endpoint", 97), seen("source")], availability=99.5))
    availability = next(part for part in parts if part.name == "availability")
    assert (availability.allowed, availability.measured, availability.unit) == (99.5, 97.0, "percent")
    assert reasons[0].object == URL
    assert "3 of 100 answers were wrong" in reasons[0].message
    assert "4.0 s: answered 503, not 200" in reasons[0].message
    assert "before the test" not in reasons[0].message


def test_an_application_that_was_unwell_before_is_not_blamed_on_the_test() -> None:
    unwell = seen("endpoint", 97, baseline=Span(asked=100, right=90))
    _, _, reasons = judge(measured(watched=[unwell, seen("source")]))
    assert "before the test 10 of 100 were wrong, too, so it may not be the cause" in reasons[0].message


def test_the_worst_endpoint_decides() -> None:
    found = [seen("endpoint"), seen("endpoint", 50, subject=f"{URL}/2"), seen("source")]
    _, parts, _ = judge(measured(endpoints=2, watched=found))
    assert next(part.measured for part in parts if part.name == "availability") == 50.0


def test_an_objective_that_allows_some_wrong_answers_is_met_by_it() -> None:
    found = measured(availability=99, watched=[seen("endpoint", 99), seen("source")])
    assert verdicts(found)[0] == "met"


def test_slower_answers_are_told_and_miss_nothing() -> None:
    slow = Span(asked=100, right=100, median_seconds=0.4, slowest_seconds=0.9)
    verdict, _, reasons = verdicts(measured(watched=[seen("endpoint", meanwhile=slow), seen("source")]))
    assert (verdict, reasons) == ("met", ["slower"])


def test_the_slowest_restore_is_what_the_rto_is_judged_by() -> None:
    rounds = [one_round(), one_round(2, restore=restored(seconds=601)), one_round(3)]
    _, parts, _ = judge(measured(rounds=rounds, rounds_asked=3))
    rto = next(part for part in parts if part.name == "RTO")
    assert (rto.verdict, rto.allowed, rto.measured) == ("missed", 600, 601)


@pytest.mark.parametrize("code", ["not-due", "sampled"])
def test_a_drill_makes_up_for_a_proof_that_did_less(code: str) -> None:
    not_due = one_round(proof=proof("inconclusive", code))
    verdict, parts, reasons = verdicts(measured(rounds=[not_due]))
    assert (verdict, parts["integrity"], reasons) == ("met", "met", ["proof-inconclusive"])
    by_proof = one_round(proof=proof("inconclusive", code), restore=None)
    assert verdicts(measured(rounds=[by_proof]))[1]["integrity"] == "inconclusive"


def test_a_restore_that_only_a_proof_measured_is_told() -> None:
    found = measured(rounds=[one_round(restore=restored(kind="proof", phases={}))])
    verdict, _, reasons = verdicts(found)
    assert (verdict, reasons) == ("met", ["restored-by-proof"])


@given(
    st.lists(st.sampled_from(["met", "missed", "inconclusive", "not measured"]), min_size=5, max_size=5),
)
def test_nothing_less_than_every_part_being_met_is_met(each: list[str]) -> None:
    parts = [
        Part.model_validate(
            {"name": "RPO", "verdict": verdict, "unit": "seconds", "allowed": None, "measured": None}
        )
        for verdict in each
    ]
    verdict = overall(parts)
    assert (verdict == "met") == (set(each) == {"met"})
    assert (verdict == "missed") == ("missed" in each)


@given(st.integers(0, 100), st.integers(0, 100), st.floats(1, 100), st.integers(0, 50))
def test_fewer_right_answers_never_make_a_better_verdict(
    right: int, fewer: int, wanted: float, unasked: int
) -> None:
    order = ["missed", "inconclusive", "met"]
    low, high = sorted((right, fewer))

    def judged(number: int) -> int:
        found = measured(
            availability=wanted, unasked=unasked, watched=[seen("endpoint", number), seen("source")]
        )
        return order.index(judge(found)[0])

    assert judged(low) <= judged(high)


@given(st.floats(0.1, 5000), st.floats(0.1, 5000))
def test_a_slower_restore_never_makes_a_better_verdict(one: float, other: float) -> None:
    def missed(seconds: float) -> bool:
        return judge(measured(rounds=[one_round(restore=restored(seconds=seconds))]))[0] == "missed"

    quick, slow = sorted((one, other))
    assert missed(slow) or not missed(quick)
