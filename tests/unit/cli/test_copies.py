"""What the command says of a vault's copy, and what it reads there."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from coffre.results import CopyResult
from tests.unit.cli.conftest import BACKUP, REGION, STACK, World

RESULT: dict[str, Any] = {
    "database": "shop",
    "backup_id": BACKUP,
    "verdict": "incomplete",
    "bucket": "second-vault",
    "reasons": [
        {"level": "refuse", "code": "copy-lost", "object": "shop/chunks/00/1", "message": "it is missing"}
    ],
    "objects": 12,
    "bytes": 5_000_000,
    "pending": 0,
    "lacking": 1,
    "root_hash": "ab" * 32,
    "by": "checksum",
    "checked": "2026-11-20T03:00:09Z",
}


@pytest.mark.parametrize(("verdict", "code"), [("complete", 0), ("incomplete", 1), ("pending", 3)])
def test_what_is_found_of_a_copy_is_the_exit_code(world: World, verdict: str, code: int) -> None:
    world.functions.answers["verify"] = lambda _: {"copies": [{**RESULT, "verdict": verdict}]}
    outcome = world.run("verify", "shop", "latest", "--copy", "--json")
    assert (outcome.code, outcome.document["verdict"]) == (code, verdict)
    event = {"action": "copy", "database": "shop", "backup_id": "latest", "read": False}
    assert world.functions.calls == [("verify", event, True)]
    shown = world.run("verify", "shop", BACKUP, "--copy", "--read").out
    for text in (verdict, "second-vault", "12 objects, 5.0 MB", "checksum", "it is missing"):
        assert text in shown
    assert world.functions.calls[-1][1] == {**event, "backup_id": BACKUP, "read": True}


def test_a_list_has_a_column_for_copies_only_where_there_are_some(world: World) -> None:
    root = world.store_backup()
    assert "copy" not in world.run("list", "shop").out
    world.catalogue.copied(CopyResult.model_validate({**RESULT, "root_hash": root}))
    shown = world.run("list", "shop").out
    assert "copy" in shown
    assert "incomplete" in shown
    assert "incomplete: it is missing" in world.run("show", "shop", BACKUP).out


@pytest.mark.parametrize("wrong", [["--read"], ["--copy", "--upgrade-to", "18"]])
def test_options_that_mean_nothing_together_are_refused(world: World, wrong: list[str]) -> None:
    assert world.run("verify", "shop", "latest", *wrong, "--json").code == 2
    assert world.functions.calls == []


def test_a_restore_from_the_copy_asks_for_it_in_plan_and_run(world: World) -> None:
    world.functions.answers["restore"] = lambda _: {
        "action": "plan",
        "token": "c0a1f1d46b1e3c52",
        "database": "shop",
        "backup_id": BACKUP,
        "target": "database 'copy' at db.example:5432",
        "target_database": "copy",
        "creates_database": True,
        "roles_to_create": [],
        "tables": 2,
        "rows": 10,
        "bytes": 2000,
        "findings": [],
    }
    target = ["--to", "postgresql://owner:hidden@db.example/copy", "--yes"]
    assert world.run("restore", "shop", "latest", "--from", "copy", *target).code == 0
    assert [(event["action"], event["source"]) for _, event, _ in world.functions.calls] == [
        ("plan", "copy"),
        ("run", "copy"),
    ]
    world.functions.calls.clear()
    assert world.run("restore", "shop", "latest", *target).code == 0
    assert all("source" not in event for _, event, _ in world.functions.calls)


def test_the_catalogue_is_made_again_from_the_copy_of_a_vault_that_is_gone(world: World) -> None:
    assert (
        world.run("catalogue", "rebuild", "--from", "copy", "--json").document["error"]["code"] == "no-copy"
    )
    root = world.store_backup()
    s3, key = boto3.client("s3"), f"shop/backups/{BACKUP}/manifest.json"
    s3.create_bucket(Bucket="second-vault", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.copy_object(Bucket="second-vault", Key=key, CopySource={"Bucket": "vault", "Key": key})
    s3.delete_object(Bucket="vault", Key=key)
    s3.delete_bucket(Bucket="vault")
    boto3.client("dynamodb").delete_item(
        TableName="catalogue", Key={"pk": {"S": "DB#shop"}, "sk": {"S": f"BACKUP#{BACKUP}"}}
    )
    _add_outputs(CopyBucketArn="arn:aws:s3:::second-vault", CopyRegion=REGION, CopyOwner="123456789012")

    document = world.run("catalogue", "rebuild", "--from", "copy", "--json").document

    assert (document["completed"], document["gone"]) == (1, 0)
    entry = world.catalogue.backup("shop", BACKUP)
    assert entry is not None
    assert entry.root_hash == root


def _add_outputs(**outputs: str) -> None:
    client = boto3.client("cloudformation")
    template = client.get_template(StackName=STACK)["TemplateBody"]
    template["Outputs"] |= {name: {"Value": value} for name, value in outputs.items()}
    client.update_stack(StackName=STACK, TemplateBody=json.dumps(template))
