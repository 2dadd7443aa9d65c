"""The protocol of an exercise says what was measured, and flatters nobody."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from coffre.catalogue.objectives import report as objectives
from coffre.databases.registration import Registration
from coffre.errors import UnknownDatabaseError
from coffre.events.report import ExerciseEvent
from coffre.ids import stamp
from coffre.report import exercise
from coffre.report.protocol import Protocol, as_html, as_markdown
from tests.fakes.kms import KEY
from tests.unit.report.conftest import NAME, NOVEMBER, World
from tests.unit.report.test_page import HOSTILE, Page

ENDED: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "events" / "report" / "exercise-ended.json").read_text()
)
FAILED = {
    "status": "failed",
    "code": "object-missing",
    "message": "chunk 5f is gone",
    "advice": "Verify the backup.",
    "digests_equal": False,
}
NOW = NOVEMBER + timedelta(days=20)


def ended(world: World, **detail: Any) -> ExerciseEvent:
    """An exercise of this database ended so, on a day with backups and a drill behind it."""
    for day in range(20):
        world.backup(NOVEMBER + timedelta(days=day, hours=3))
    world.restored(NOVEMBER + timedelta(days=19), 60)
    world.store.now = NOW
    times = {"started": stamp(NOW - timedelta(minutes=2)), "completed": stamp(NOW)}
    return ExerciseEvent.from_event({**ENDED, "detail": {**ENDED["detail"], **times, **detail}})


def filled_in(world: World, **detail: Any) -> tuple[str, Page]:
    """Both forms of the protocol."""
    event = ended(world, **detail)
    met = objectives(NAME, world.registry.get(NAME), world.catalogue, days=15, now=NOW)
    protocol = Protocol(event, met, "Ada", NOW)
    return as_markdown(protocol), Page(as_html(protocol))


def test_it_names_backup_server_phases_digests_and_objectives(world: World) -> None:
    markdown, page = filled_in(world)
    assert "restored and equal, objectives met" in markdown
    for words in (
        ENDED["detail"]["root_hash"],
        "scratch.example.com:5432",
        "42 tables, 1,234,567 rows, 5.0 GB",
        "88.2 s",
        "equal to the backup",
        "Ada",
    ):
        assert words in markdown.replace("\\", "")
        assert words in page.words
    assert "| RTO | 10.0 min | 64.0 s | met |" in markdown
    assert "| responsible for the database | | | |" in markdown, "people sign by hand"


def test_of_a_sealed_database_it_names_nothing_and_counts_no_rows(world: World) -> None:
    world.registry.known[NAME] = Registration(secret="s", seal_key=KEY)
    found = {"level": "warn", "code": "c", "object": "public.quetzals", "message": "quetzals", "advice": "x"}
    event = ended(world, **{**FAILED, "message": "no quetzal"}, findings=[found], exceptions=[found])
    for status in ("failed", "completed"):
        asked = event.model_copy(
            update={"status": status, "started": event.started + timedelta(seconds=len(status))}
        )
        for key in exercise.run(asked, world.services).keys:
            kept = world.store.read(key, limit=1 << 20)
            assert b"quetzal" not in kept
            assert b"1,234,567" not in kept
            assert b"object-missing" in kept


@pytest.mark.parametrize(
    ("registration", "detail", "result"),
    [
        ({"rpo_hours": 26, "rto_minutes": 0.5}, {}, "restored and equal, objectives missed"),
        ({"rpo_hours": 26}, {}, "restored and equal, objectives inconclusive"),
        ({}, {"digests_equal": False}, "restored, not shown to be equal to the backup"),
        ({"rto_minutes": 10}, FAILED, "failed"),
        ({"rto_minutes": 10}, {"status": "inconclusive"}, "inconclusive"),
    ],
)
def test_what_was_not_shown_is_not_claimed(
    world: World, registration: dict[str, Any], detail: dict[str, Any], result: str
) -> None:
    world.registry.known[NAME] = Registration(secret="s", **registration)
    markdown, page = filled_in(world, **detail)
    assert f"Result: **{result}**" in markdown
    assert f"Result: {result}" in page.words


def test_a_failure_is_a_finding_and_something_to_follow_up(world: World) -> None:
    markdown, _ = filled_in(world, **FAILED)
    findings, follow_ups = markdown.split("## Follow-ups")
    assert "| refuse | object-missing |" in findings
    assert "| object-missing | Verify the backup. |" in follow_ups
    assert "| failed | Find the cause, and repeat the exercise. |" in follow_ups


def test_what_comes_from_outside_is_no_markup_in_either_form(world: World) -> None:
    found = {"level": "warn", "code": "c", "object": HOSTILE, "message": f"{HOSTILE}\n| x | `y`"}
    markdown, page = filled_in(world, findings=[found])
    assert "script" not in {tag for tag, _ in page.seen}
    assert HOSTILE in page.words
    assert "<script" not in markdown
    (line,) = [line for line in markdown.splitlines() if line.startswith("| warn")]
    assert line.count("|") == 5, "four cells"


@pytest.mark.parametrize("by", ["Eve <x>", "a | b & #1", "&lt;b&gt; \\`*_[x]"])
def test_a_name_is_escaped_once_and_reads_as_it_was_given(world: World, by: str) -> None:
    met = objectives(NAME, world.registry.get(NAME), world.catalogue, days=15, now=NOW)
    text = as_markdown(Protocol(ended(world), met, by, NOW))
    (line,) = [line for line in text.splitlines() if line.startswith("| Started by")]
    shown = re.sub(r"\\([^\sA-Za-z0-9])|(&#?\w+;)", lambda found: found[1] or html.unescape(found[2]), line)
    assert shown == f"| Started by | {by} |"
    assert line.count("|") == 3


def test_the_end_of_an_exercise_writes_its_protocol_once(world: World) -> None:
    event = ended(world)
    first, again = exercise.run(event, world.services), exercise.run(event, world.services)
    keys = [f"{NAME}/reports/exercises/20261120T235800Z.{kind}" for kind in ("md", "html")]
    assert [(one.status, one.keys) for one in (first, again)] == [("written", keys), ("exists", keys)]
    assert [name for name, _ in world.heard.events] == ["Protocol Written"]
    assert world.store.read(keys[0], limit=1 << 20).startswith(b"# Disaster recovery exercise: shop")
    with pytest.raises(UnknownDatabaseError):
        exercise.run(event.model_copy(update={"database": "gone"}), world.services)
