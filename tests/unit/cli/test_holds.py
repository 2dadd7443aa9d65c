"""`coffre hold`, `release`, and what `show` and `rotate` say of locks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coffre.vault.locks import LockRule
from coffre_cli.show_backups import immutability
from tests.unit.cli.conftest import BACKUP, World

HELD: dict[str, Any] = {
    "database": "shop",
    "backup_id": BACKUP,
    "holds": ["hold of 2026-11-20T03:00:00.000000Z (audit)"],
}


def test_hold_asks_rotate_and_shows_what_stands(world: World) -> None:
    world.functions.answers["rotate"] = lambda _: HELD
    outcome = world.run("hold", "shop", BACKUP, "--reason", "audit", "--until", "2027-03-31")
    assert outcome.code == 0
    assert "(audit)" in outcome.out
    event = {
        "action": "hold",
        "reason": "audit",
        "legal": False,
        "until": "2027-03-31T00:00:00+00:00",
        "database": "shop",
        "backup_id": BACKUP,
    }
    assert world.functions.calls == [("rotate", event, True)]
    assert world.run("hold", "shop", "latest", "--legal", "--json").document == HELD
    assert world.functions.calls[-1][1]["legal"] is True


def test_release_ends_all_holds(world: World) -> None:
    world.functions.answers["rotate"] = lambda _: {**HELD, "holds": []}
    outcome = world.run("release", "shop", BACKUP)
    assert (outcome.code, "none" in outcome.out) == (0, True)
    assert world.functions.calls[0][1]["action"] == "release"


@pytest.mark.parametrize("wrong", [["--until", "tomorrow"], ["--until", "2027-13-01"]])
def test_a_date_that_is_none_is_bad_usage(world: World, wrong: list[str]) -> None:
    assert world.run("hold", "shop", BACKUP, *wrong).code == 2
    assert world.functions.calls == []


def test_show_says_that_nothing_is_immutable_where_nothing_is(world: World) -> None:
    world.store_backup()
    document = world.run("show", "shop", BACKUP, "--json").document
    assert (document["object_lock"], document["locked_until"], document["legal_hold"]) == (None, None, False)
    assert document["immutable"] == "no: vault has no Object Lock"
    assert "no: vault has no Object Lock" in world.run("show", "shop", BACKUP).out


def test_only_what_the_store_says_is_called_immutable() -> None:
    now = datetime.now(UTC)
    rule = LockRule("GOVERNANCE", timedelta(days=1))
    said = [
        immutability(None, now + timedelta(days=1), legal_hold=False, bucket="vault"),
        immutability(rule, None, legal_hold=False, bucket="vault"),
        immutability(rule, now - timedelta(days=1), legal_hold=False, bucket="vault"),
        immutability(rule, now + timedelta(days=1), legal_hold=False, bucket="vault"),
        immutability(rule, None, legal_hold=True, bucket="vault"),
    ]
    assert [text.startswith("no") for text in said] == [True, True, True, False, False]
    assert "but for who may bypass governance" in said[3]


def test_rotate_says_what_waits_for_which_date_and_what_was_put_aside(world: World) -> None:
    report = {
        "database": "shop",
        "dry_run": False,
        "decisions": [],
        "immutable": "COMPLIANCE",
        "locked_objects": 12,
        "locked_bytes": 3_000_000,
        "locked_until": "2026-12-24T00:00:00.000000Z",
        "extended": [BACKUP],
        "quarantined_chunks": 1,
        "doubted": [BACKUP],
    }
    world.functions.answers["rotate"] = lambda _: {"reports": [report], "failed": {}}
    shown = " ".join(world.run("rotate", "shop").out.split())
    for text in ("12 objects (3.0 MB)", "until 2026-12-24 00:00:00 UTC", "1 damaged", "no longer proven"):
        assert text in shown


def test_a_retention_may_be_told_in_days(world: World) -> None:
    url = "postgresql://reader:hidden@db.example:5432/shop"
    options = ["--retention", "daily=30d", "--retention", "weekly=8"]
    assert world.run("databases", "add", "shop", "--url", url, *options).code == 0
    [entry] = world.parameters().values()
    assert entry["retention"] == {"daily": "30d", "weekly": 8}
    assert "daily 30d" in " ".join(world.run("databases", "list").out.split())
