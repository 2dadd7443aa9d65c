"""`coffre rotate`, `health` and `catalogue rebuild`."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from coffre.catalogue.entries import RestoreEntry
from coffre.ids import stamp, utc_now
from tests.unit.cli.conftest import BACKUP, World

REPORT: dict[str, Any] = {
    "database": "shop",
    "dry_run": True,
    "decisions": [
        {"backup_id": BACKUP, "action": "delete", "reasons": ["in no tier"], "frees_bytes": 1_500_000},
        {"backup_id": "20261121T030000Z-daily-2f09ab", "action": "keep", "reasons": ["daily", "last proven"]},
    ],
    "marked_chunks": 3,
    "marked_bytes": 1_500_000,
}
HEALTHY: dict[str, Any] = {
    "database": "shop",
    "score": 100,
    "reasons": [],
    "reachable": True,
    "rpo_hours": 26,
}


def test_rotate_tells_each_decision_its_reason_and_what_it_frees(world: World) -> None:
    world.functions.answers["rotate"] = lambda _: {"reports": [REPORT], "failed": {}}
    outcome = world.run("rotate", "shop", "--dry-run", "--json")
    assert outcome.code == 0
    assert outcome.document["reports"][0]["decisions"] == REPORT["decisions"]
    assert world.functions.calls == [("rotate", {"database": "shop", "dry_run": True}, True)]
    shown = world.run("rotate", "--dry-run").out
    for text in ("in no tier", "1.5 MB", "daily, last proven", "dry run"):
        assert text in shown
    assert world.functions.calls[-1][1] == {"dry_run": True}


def test_rotate_fails_if_a_database_failed(world: World) -> None:
    world.functions.answers["rotate"] = lambda _: {
        "reports": [],
        "failed": {"shop": "[store-unavailable] no"},
    }
    outcome = world.run("rotate")
    assert outcome.code == 1
    assert "[store-unavailable] no" in outcome.out


def test_health_s_exit_code_tells_of_danger(world: World) -> None:
    report = {**HEALTHY, "backup_age_seconds": 60.0}
    world.functions.answers["health"] = lambda _: {"databases": [report]}
    assert world.run("health").code == 0
    report["reasons"] = [{"level": "warn", "code": "slow", "object": "shop", "message": "it is slow"}]
    outcome = world.run("health", "shop")
    assert outcome.code == 0
    assert "it is slow" in outcome.out
    report["reachable"] = False
    assert world.run("health", "--json").code == 1


def test_health_tells_a_sample_from_a_proof(world: World) -> None:
    sampled = {"proof_age_seconds": None, "sample_age_seconds": 60.0, "newest_sample": "b"}
    world.functions.answers["health"] = lambda _: {"databases": [{**HEALTHY, **sampled}]}
    assert "a sample," in " ".join(world.run("health").out.split())


@pytest.mark.parametrize(
    ("command", "answer", "told"),
    [
        (
            ("health",),
            {"databases": []},
            "no database is registered; `coffre databases add NAME --url URL` does",
        ),
        (("recheck",), {"reports": []}, "the vault holds nothing yet"),
        (("rotate",), {"reports": [{"database": "shop", "dry_run": False, "decisions": []}]}, "no backup\n"),
        (("restore", "list", "shop"), {}, "no restore and no proof has ended yet"),
        (("list", "shop"), {}, "shop has no backup; `coffre backup shop --wait` takes one"),
        (("list", "shop", "--type", "daily"), {}, "no backup fits"),
    ],
)
def test_where_there_is_nothing_that_is_said(
    world: World, command: tuple[str, ...], answer: dict[str, Any], told: str
) -> None:
    world.register()
    verb = {"recheck": "verify"}.get(command[0], command[0])
    world.functions.answers[verb] = lambda _: answer
    outcome = world.run(*command)
    assert (outcome.code, told in outcome.out) == (0, True)


def test_objectives_are_judged_by_what_happened(world: World) -> None:
    world.register()
    outcome = world.run("objectives", "shop", "--json")
    assert outcome.code == 1, "without a proven backup no RPO is met"
    assert outcome.document["proven_exposure_seconds"] is None
    world.store_backup()
    outcome = world.run("objectives", "shop", "--json")
    assert (outcome.code, outcome.document["rpo_met"]) == (1, False)
    assert outcome.document["exposure_seconds"] > 0
    world.catalogue.record_restore(
        RestoreEntry(
            "shop", stamp(utc_now()), "new", "completed", BACKUP, bytes=5_000_000, milliseconds=90_000
        )
    )
    outcome = world.run("objectives", "shop")
    assert "1 measured" in outcome.out
    assert "90.0 s" in outcome.out


def test_objectives_say_in_words_what_is_met_and_what_is_missed(world: World) -> None:
    url = "postgresql://reader:hidden@db.example:5432/shop"
    world.run("databases", "add", "shop", "--url", url, "--rto-minutes", "1")
    assert "nothing, missed" in world.run("objectives", "shop").out
    world.store_backup()
    for milliseconds, told in ((9_000, "9.0 s, met"), (90_000, "90.0 s, missed")):
        world.catalogue.record_restore(
            RestoreEntry(
                "shop",
                stamp(utc_now()),
                "new",
                "completed",
                BACKUP,
                bytes=5_000_000,
                milliseconds=milliseconds,
            )
        )
        assert told in world.run("objectives", "shop").out


def test_rebuild_makes_the_catalogue_again_from_the_bucket(world: World) -> None:
    root = world.store_backup()
    boto3.client("dynamodb").delete_item(
        TableName="catalogue", Key={"pk": {"S": "DB#shop"}, "sk": {"S": f"BACKUP#{BACKUP}"}}
    )
    assert world.catalogue.backup("shop", BACKUP) is None
    document = world.run("catalogue", "rebuild", "--json").document
    assert (document["databases"], document["completed"]) == (1, 1)
    entry = world.catalogue.backup("shop", BACKUP)
    assert entry is not None
    assert entry.root_hash == root


def test_rebuild_knows_databases_that_are_registered_or_have_backups_and_no_others(world: World) -> None:
    for wrong, code in {"nope": "unknown-database", "Shop": "bad-usage"}.items():
        outcome = world.run("catalogue", "rebuild", "--database", wrong, "--json")
        assert (outcome.code, outcome.document["error"]["code"]) == (2, code)
    world.register("fresh")
    world.store_backup("removed")
    for name in ("fresh", "removed"):
        assert world.run("catalogue", "rebuild", "--database", name).code == 0
