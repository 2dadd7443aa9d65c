"""What Coffre does for one database, told in order: each test is a step and builds on those before it.

Everything runs as on AWS: the functions of the real template, called as AWS calls them, against moto's S3,
DynamoDB, EventBridge, SSM and Secrets Manager, and a PostgreSQL 16 that plays the customer's server.
Read it from top to bottom.
"""

from __future__ import annotations

import hashlib
import json

import pytest

from coffre.catalogue.rebuild import rebuild
from coffre.vault.layout import Layout
from tests.steps.conftest import Story
from tests.support.postgres import databases, sql, target
from tests.support.stack import FunctionError

NIGHT = "2026-11-01T03:00:00Z"
SHOP = Layout("shop")


def test_01_a_registered_database_can_be_checked_before_anything_is_written(story: Story) -> None:
    story.stack.register("shop", story.url("shop"))
    answer = story.stack.call(
        "backup", type="manual", scheduled_time=NIGHT, database="shop", preflight_only=True
    )
    assert answer["status"] == "checked"
    assert [finding for finding in answer["findings"] if finding["level"] == "refuse"] == []
    assert story.stack.keys("shop/") == []


def test_02_the_nightly_schedule_fires_a_backup(story: Story) -> None:
    story.stack.fire("backup-daily", NIGHT)
    story.stack.drain()
    (manifest,) = story.stack.manifests("shop")
    backup_id = manifest.split("/")[2]
    assert backup_id.startswith("20261101T030000Z-daily-")
    entry = story.stack.catalogue.backup("shop", backup_id)
    assert entry is not None
    assert (entry.status, entry.type, entry.relations) == ("completed", "daily", 10)
    assert entry.rows == sum(end.rows for end in story.stack.records("shop") if hasattr(end, "digest"))
    story.tell("nightly", backup_id)


def test_03_the_manifest_itself_starts_the_proof(story: Story) -> None:
    nightly = story.told("nightly")
    told = [(event.type, event.detail["backup_id"]) for event in story.stack.events("shop")]
    assert sorted(told) == [("Backup Completed", nightly), ("Proof Passed", nightly)]
    assert not [failure for failure in story.stack.failures() if "shop" in failure["event"]]


def test_04_the_verdict_is_proven_and_its_evidence_lies_in_the_vault(story: Story) -> None:
    nightly = story.told("nightly")
    entry = story.stack.catalogue.backup("shop", nightly)
    assert entry is not None
    assert (entry.verdict, entry.reasons) == ("proven", ())
    assert entry.evidence is not None
    evidence = json.loads(story.stack.store.read(entry.evidence, limit=1 << 20))
    manifest = story.stack.store.read(SHOP.manifest(nightly), limit=1 << 20)
    assert evidence["root_hash"] == entry.root_hash == hashlib.sha256(manifest).hexdigest()
    compared = evidence["compared"]
    assert (compared["tables"], compared["rows"]) == (entry.relations, entry.rows)
    assert compared["sequences"] == 4
    assert min(compared["constraints"], compared["indexes"], compared["materialized_views"]) >= 1


def test_05_an_event_that_arrives_twice_makes_no_second_backup(story: Story) -> None:
    nightly = story.told("nightly")
    answer = story.stack.call("backup", type="daily", scheduled_time=NIGHT, database="shop")
    assert (answer["status"], answer["backup_id"]) == ("skipped", nightly)
    assert len(story.stack.manifests("shop")) == 1


def test_06_a_second_backup_stores_only_what_changed(story: Story) -> None:
    story.told("nightly")
    before = set(story.stack.keys(SHOP.chunks))
    sql(target(story.server, "shop"), "UPDATE stock SET pieces = pieces + 1 WHERE product = 7")
    answer = story.stack.backup("shop", reason="before the update")
    new = set(story.stack.keys(SHOP.chunks)) - before
    assert (answer["status"], answer["new_chunks"], len(new)) == ("completed", 1, 1)
    assert 0 < answer["new_bytes"] < answer["stored_bytes"] / 10
    chunks = [record for record in story.stack.records("shop", answer["backup_id"]) if hasattr(record, "key")]
    assert len(chunks) == answer["chunks"] > 8, "every backup names all its chunks: it needs no other one"
    story.stack.drain()
    story.tell("second", answer["backup_id"])
    story.tell("content", story.content("shop"))


def test_07_a_restore_first_says_what_it_will_do_and_changes_nothing(story: Story) -> None:
    second = story.told("second")
    before = databases(story.server)
    request = {"database": "shop", "target_secret": story.stack.target(story.url("shop_restored"))}
    plan = story.stack.call("restore", action="plan", **request)
    assert (plan["backup_id"], plan["target_database"]) == (second, "shop_restored")
    assert (plan["creates_database"], plan["roles_to_create"]) == (True, [])
    with pytest.raises(FunctionError) as unconfirmed:
        story.stack.call("restore", action="run", **request)
    with pytest.raises(FunctionError) as confirmed_something_else:
        story.stack.call("restore", action="run", token="0" * 64, **request)
    assert (unconfirmed.value.code, confirmed_something_else.value.code) == ("invalid-event", "plan-unknown")
    assert databases(story.server) == before
    story.tell("plan", {**request, "token": plan["token"]})


def test_08_the_confirmed_restore_builds_a_new_database_beside_the_old_one(story: Story) -> None:
    plan = story.told("plan")
    sql(target(story.server, "shop"), "DROP TABLE reviews")  # the accident
    answer = story.stack.call("restore", action="run", **plan)
    assert (answer["status"], answer["target_database"]) == ("completed", "shop_restored")
    assert answer["digests_equal"] is True
    assert {"shop", "shop_restored"} <= databases(story.server)
    assert not [name for name in databases(story.server) if "_restoring_" in name]
    assert "Restore Completed" in [event.type for event in story.stack.events("shop")]
    story.tell("restored", "shop_restored")


def test_09_the_restored_database_is_what_it_was_when_the_backup_was_taken(story: Story) -> None:
    assert story.content(story.told("restored")) == story.told("content")


def test_10_a_restore_never_overwrites(story: Story) -> None:
    restored = story.told("restored")
    request = {"database": "shop", "target_secret": story.stack.target(story.url(restored))}
    with pytest.raises(FunctionError) as refused:
        story.stack.call("restore", action="plan", **request)
    assert refused.value.code == "target-not-empty"
    assert story.content(restored) == story.told("content")


def test_11_rotation_explains_itself_and_a_dry_run_changes_nothing(story: Story) -> None:
    second = story.told("second")
    only_newest = {"hourly": 0, "daily": 0, "weekly": 0, "monthly": 0, "keep_last": 1}
    story.stack.register("shop", story.url("shop"), prove="never", retention=only_newest)
    unproven = story.stack.backup("shop")["backup_id"]
    story.stack.drain()
    before = story.stack.keys("shop/")
    (report,) = story.stack.call("rotate", database="shop", dry_run=True)["reports"]
    decisions = {decision["backup_id"]: decision for decision in report["decisions"]}
    assert {name: decision["action"] for name, decision in decisions.items()} == {
        story.told("nightly"): "delete",
        second: "keep",
        unproven: "keep",
    }
    assert all(decision["reasons"] for decision in decisions.values())
    assert "proven" in " ".join(decisions[second]["reasons"])
    assert story.stack.keys("shop/") == before
    story.tell("decisions", report["decisions"])


def test_12_rotation_keeps_the_last_proven_backup(story: Story) -> None:
    decisions = story.told("decisions")
    (report,) = story.stack.call("rotate", database="shop")["reports"]
    assert report["decisions"] == decisions, "the run does what the dry run said"
    kept = {decision["backup_id"] for decision in decisions if decision["action"] == "keep"}
    assert {key.split("/")[2] for key in story.stack.manifests("shop")} == kept
    deleted = story.stack.catalogue.backup("shop", story.told("nightly"))
    assert deleted is not None
    assert deleted.status == "deleted"
    answer = story.stack.call("verify", database="shop", backup_id=story.told("second"))
    assert answer["verdict"] == "inconclusive", "the policy says: prove never"
    codes = [reason["code"] for reason in answer["reasons"]]
    assert codes == ["not-due", "verdict-stands"], "but all its chunks are there, and it was proven before"
    kept = story.stack.catalogue.backup("shop", story.told("second"))
    assert kept is not None
    assert kept.verdict == "proven"


def test_13_the_health_report_says_how_old_the_newest_backup_and_proof_are(story: Story) -> None:
    story.told("second")
    (report,) = story.stack.call("health", database="shop")["databases"]
    assert report["reachable"] is True
    assert report["newest_backup"] is not None
    assert report["backup_age_seconds"] is not None
    assert 0 <= report["score"] <= 100
    assert "Health Reported" in [event.type for event in story.stack.events("shop")]


def test_14_the_catalogue_can_be_made_again_from_the_bucket(story: Story) -> None:
    story.told("decisions")
    known = [entry for entry in story.stack.catalogue.backups("shop") if entry.status == "completed"]
    assert len(known) == 2
    table = story.stack.client("dynamodb")
    for item in table.scan(TableName=story.stack.info["table"])["Items"]:
        table.delete_item(TableName=story.stack.info["table"], Key={"pk": item["pk"], "sk": item["sk"]})
    assert list(story.stack.catalogue.backups("shop")) == []
    assert rebuild(story.stack.store, story.stack.catalogue, ["shop"]).completed == 2
    again = list(story.stack.catalogue.backups("shop"))
    assert [(e.backup_id, e.root_hash, e.rows, e.verdict) for e in again] == [
        (e.backup_id, e.root_hash, e.rows, e.verdict) for e in known
    ]
