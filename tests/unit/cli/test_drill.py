"""`coffre drill` and its protocol, as their user sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coffre.results import Compared, DrillResult, Finding, VerifyResult
from tests.unit.cli.conftest import BACKUP, FunctionError, World

ROOT_HASH = "0689e46e0c3382749510940713d70df6aea0e049dad1dc3ffdbc8d0ee418a59d"


def drilled(event: dict[str, Any]) -> dict[str, Any]:
    """What the restore function answers to a drill."""
    assert event["action"] == "drill"
    return DrillResult(
        database="shop",
        backup_id=BACKUP,
        root_hash=ROOT_HASH,
        started="2026-11-20T10:30:00.000000Z",
        completed="2026-11-20T10:31:00.000000Z",
        server="scratch.example:5432",
        kept_as=None,
        tables=2,
        rows=10,
        bytes=1000,
        seconds=59.5,
        phases={"schema": 1.5, "rows": 40.0},
        digests_equal=True,
        findings=[],
    ).answer()


def proof(verdict: Any) -> dict[str, Any]:
    """What the verify function answers."""
    needs = Finding(level="refuse", code="needs-extension", object="postgis", message="there is no postgis")
    return VerifyResult(
        database="shop",
        backup_id=BACKUP,
        verdict=verdict,
        reasons=[] if verdict == "proven" else [needs],
        root_hash=ROOT_HASH,
        completed="2026-11-20T10:31:00.000000Z",
        tables=2,
        rows=10,
        bytes=1000,
        compared=Compared(),
        evidence="shop/proofs/x.json",
        seconds=3,
        phases={"schema": 0.5, "rows": 1.5} if verdict == "proven" else {},
    ).answer()


def drill(world: World, file: Path, *more: str) -> tuple[int, str]:
    """A drill with a protocol; the exit code and the protocol."""
    code = world.run("drill", "shop", "--protocol", str(file), *more).code
    return code, file.read_text()


def test_the_protocol_tells_what_the_scratch_server_measured(world: World, tmp_path: Path) -> None:
    world.register()
    world.functions.answers["restore"] = drilled
    to = ("--to", "postgresql://u@scratch.example/postgres", "--by", "Ada")
    code, text = drill(world, tmp_path / "protocol.md", *to)
    assert code == 1, "nothing was proven, so the RPO is missed"
    for words in ("restored and equal, objectives missed", "| rows | 40.0 s |", ROOT_HASH, "| Ada |"):
        assert words in text
    _, page = drill(world, tmp_path / "protocol.html", *to)
    assert page.startswith("<!DOCTYPE html>")


def test_a_proof_that_is_inconclusive_is_no_exercise_that_passed(world: World, tmp_path: Path) -> None:
    world.register()
    world.functions.answers["verify"] = lambda _: proof("inconclusive")
    code, text = drill(world, tmp_path / "protocol.md")
    assert code == 3
    assert "Result: **inconclusive**" in text
    assert "there is no postgis" in text
    world.functions.answers["verify"] = lambda _: proof("proven")
    proven = drill(world, tmp_path / "protocol.md")[1]
    assert "Result: **restored and equal" in proven
    assert "| rows | 1.5 s |" in proven


def test_a_proof_is_timed_phase_by_phase_as_any_drill(world: World) -> None:
    world.register()
    world.functions.answers["verify"] = lambda _: proof("proven")
    lines = [line.split() for line in world.run("drill", "shop").err.splitlines()]
    assert ["rows", "1.5", "s", "█" * 30] in lines
    assert ["schema", "0.5", "s", "█" * 10] in lines


def test_a_drill_that_fails_leaves_a_protocol_of_its_failure(world: World, tmp_path: Path) -> None:
    world.register()

    def fail(_: dict[str, Any]) -> Any:
        raise FunctionError("ObjectMissingError", "[object-missing] chunk 5f is gone. Verify the backup.")

    world.functions.answers["verify"] = fail
    code, text = drill(world, tmp_path / "protocol.md")
    assert code == 1
    assert "Result: **failed**" in text
    assert "chunk 5f is gone" in text


def test_a_protocol_that_cannot_be_written_is_told_before_the_drill(world: World, tmp_path: Path) -> None:
    world.register()
    for file in ("/nonexistent/p.md", str(tmp_path)):
        outcome = world.run("drill", "shop", "--protocol", file, "--json")
        assert (outcome.code, outcome.document["error"]["code"]) == (2, "bad-usage")
    assert world.functions.calls == []
    world.run("drill", "unknown", "--protocol", str(tmp_path / "p.md"))
    assert not (tmp_path / "p.md").exists(), "nothing is left of a drill that never began"


def test_who_carries_it_out_needs_a_protocol_to_stand_in(world: World) -> None:
    world.register()
    assert world.run("drill", "shop", "--by", "Ada").code == 2
    assert world.functions.calls == []
