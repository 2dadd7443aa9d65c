"""`coffre backup`, `list`, `show` and `verify`."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from coffre.events.backup import BackupRequest
from coffre.events.base import parse
from coffre.ids import backup_id, utc_now
from coffre.results import VerifyResult
from tests.fakes.vault import make_rehearsal
from tests.unit.cli.conftest import BACKUP, FunctionError, World

VERIFIED: dict[str, Any] = {
    "database": "shop",
    "backup_id": BACKUP,
    "verdict": "proven",
    "reasons": [],
    "root_hash": "ab" * 32,
    "completed": "2026-11-20T03:00:09.000000Z",
    "tables": 2,
    "rows": 1234567,
    "bytes": 5_000_000,
    "compared": {"tables": 2, "materialized_views": 1},
    "evidence": f"shop/proofs/{BACKUP}/20261120T030100.000000Z.json",
    "seconds": 12.5,
}


def completed(event: dict[str, Any]) -> dict[str, Any]:
    """A backup function that works."""
    request = parse(BackupRequest, event)
    identifier = backup_id(str(request.database), request.type, request.scheduled_time)
    numbers = {"rows": 10, "bytes": 2000, "stored_bytes": 900, "new_bytes": 300, "seconds": 1.5}
    return {"database": request.database, "backup_id": identifier, "status": "completed", **numbers}


def test_a_backup_that_is_waited_for_tells_what_it_stored(world: World) -> None:
    world.functions.answers["backup"] = completed
    document = world.run("backup", "shop", "--wait", "--json").document
    assert {"backup_id", "status", "rows", "bytes", "stored_bytes", "new_bytes", "seconds"} <= set(document)
    shown = world.run("backup", "shop", "--type", "safety", "--reason", "migration", "--wait")
    assert shown.code == 0
    assert "verification starts by itself" in shown.out
    assert "2.0 kB" in shown.out
    assert world.functions.calls[-1][1]["reason"] == "migration"


def test_a_backup_that_is_not_waited_for_has_the_id_that_the_function_will_give_it(world: World) -> None:
    world.register()
    document = world.run("backup", "shop", "--json").document
    verb, event, waited = world.functions.calls[-1]
    assert (verb, waited) == ("backup", False)
    assert document == {"database": "shop", "backup_id": completed(event)["backup_id"], "status": "started"}
    assert "`coffre status shop` follows it" in world.run("backup", "shop").out


def test_a_failure_that_nobody_would_see_is_found_before(world: World) -> None:
    outcome = world.run("backup", "shop", "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, "unknown-database")
    world.register()
    outcome = world.run("verify", "shop", BACKUP, "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, "unknown-backup")
    assert world.functions.calls == []


def test_list_filters_and_leaves_deleted_ones_out(world: World) -> None:
    world.store_backup()
    older = "20261119T030000Z-daily-aaaaaa"
    world.store_backup(identifier=older)
    world.catalogue.delete("shop", older)
    world.catalogue.fail("shop", "20261118T030000Z-manual-bbbbbb", "disk-full", "the scratch space is full")

    def ids(*options: str) -> list[str]:
        return [
            entry["backup_id"] for entry in world.run("list", "shop", *options, "--json").document["backups"]
        ]

    assert ids() == [BACKUP, "20261118T030000Z-manual-bbbbbb"]
    assert ids("--status", "deleted") == [older]
    assert ids("--type", "manual") == ["20261118T030000Z-manual-bbbbbb"]
    shown = world.run("list", "shop").out
    assert "1,234,567" in shown
    assert "disk-full" in shown


def test_list_of_an_unknown_database_is_an_error_and_of_a_new_one_is_not(world: World) -> None:
    assert world.run("list", "shop").code == 2
    world.register()
    assert world.run("list", "shop", "--json").document == {"database": "shop", "backups": []}


@pytest.mark.parametrize("reference", [BACKUP, "latest"])
def test_show_puts_catalogue_and_manifest_together(world: World, reference: str) -> None:
    root = world.store_backup()
    world.catalogue.verdict(VerifyResult.model_validate({**VERIFIED, "root_hash": root}))
    outcome = world.run("show", "shop", reference, "--json")
    assert outcome.code == 0
    assert outcome.document["verdict"] == "proven"
    assert outcome.document["root_hash"] == root
    assert outcome.document["manifest"]["totals"]["rows"] == 1234567
    shown = world.run("show", "shop", reference).out
    for text in (root, "proven", "16.14", "public.elsewhere", "its rows are elsewhere"):
        assert text in shown


@pytest.mark.parametrize(
    "command",
    [
        ("verify", "shop", "latest", "--wait"),
        ("hold", "shop", BACKUP),
        ("release", "shop", "latest"),
        ("restore", "shop", "latest", "--to", "postgresql://u@h/new", "--yes"),
    ],
)
def test_a_function_that_finds_no_backup_of_a_name_that_nobody_registered_means_the_name(
    world: World, command: tuple[str, ...]
) -> None:
    def missing(_: object) -> None:
        raise FunctionError("UnknownBackupError", "[unknown-backup] shop has no backup yet. Take one.")

    world.functions.answers |= dict.fromkeys(("verify", "rotate", "restore"), missing)
    outcome = world.run(*command, "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, "unknown-database")
    world.register()
    fault = world.run(*command, "--json").document["error"]
    assert (fault["code"], fault["advice"]) == ("unknown-backup", "Take one.")


def test_latest_is_the_same_backup_for_every_command(world: World) -> None:
    """A restore asks `coffre.vault.reader.meant_backup`, too."""
    world.store_backup()
    world.store_backup(identifier="20261121T040000Z-safety-aaaaaa")
    assert world.run("show", "shop", "latest", "--json").document["backup_id"] == BACKUP
    assert world.run("verify", "shop", "latest", "--json").document["backup_id"] == BACKUP
    rehearsed = world.run("verify", "shop", "latest", "--upgrade-to", "18", "--json").document
    assert rehearsed["backup_id"] == BACKUP


def test_show_tells_why_a_backup_failed(world: World) -> None:
    world.catalogue.begin("shop", BACKUP, "daily", utc_now())
    world.catalogue.fail("shop", BACKUP, "lock-not-granted", "orders is locked")
    outcome = world.run("show", "shop", BACKUP)
    assert outcome.code == 0
    assert "[lock-not-granted] orders is locked" in outcome.out


def test_show_of_an_unknown_backup_is_an_error(world: World) -> None:
    world.register()
    for reference in (BACKUP, "latest"):
        outcome = world.run("show", "shop", reference, "--json")
        assert (outcome.code, outcome.document["error"]["code"]) == (2, "unknown-backup")


@pytest.mark.parametrize(("verdict", "code"), [("proven", 0), ("failed", 1), ("inconclusive", 3)])
def test_a_verdict_is_the_exit_code(world: World, verdict: str, code: int) -> None:
    reason = {
        "level": "warn",
        "code": "needs",
        "object": "postgis",
        "message": "an extension is missing",
        "advice": "Name a scratch server.",
    }
    reasons = [] if verdict == "proven" else [reason]
    world.functions.answers["verify"] = lambda _: {**VERIFIED, "verdict": verdict, "reasons": reasons}
    outcome = world.run("verify", "shop", "latest", "--wait", "--json")
    assert (outcome.code, outcome.document["verdict"], outcome.document["reasons"]) == (
        code,
        verdict,
        reasons,
    )
    shown = world.run("verify", "shop", "latest", "--wait").out
    for text in (verdict, "ab" * 32, "5.0 MB", "2026-11-20 03:00:09 UTC", "materialized views"):
        assert text in shown
    assert ("Name a scratch server." in shown) == bool(reasons)


def test_a_sample_is_shown_as_one_wherever_verdicts_are(world: World) -> None:
    root = world.store_backup()
    key = f"shop/proofs/{BACKUP}/2026-11-20T03:01:00.000000Z.json"
    sample = {"tables": 3, "of_tables": 7, "bytes": 412, "of_bytes": 1000, "names": ["public.orders"]}
    reason = {
        "level": "warn",
        "code": "sampled",
        "object": BACKUP,
        "message": "sampled 3 of 7 tables, 41.2 %",
    }
    result = {**VERIFIED, "root_hash": root, "evidence": key, "verdict": "inconclusive"}
    result |= {"reasons": [reason], "sample": sample}
    boto3.client("s3").put_object(Bucket="vault", Key=key, Body=json.dumps(result).encode())
    world.catalogue.verdict(VerifyResult.model_validate(result))
    world.functions.answers["verify"] = lambda _: result
    for command in (("list", "shop"), ("show", "shop", BACKUP), ("verify", "shop", BACKUP, "--wait")):
        outcome = world.run(*command)
        assert outcome.code == (3 if command[0] == "verify" else 0)
        words = " ".join(outcome.out.split())
        assert "inconclusive" in words
        assert "sampled 3 of 7 tables, 41.2 %" in words
        assert ("public.orders" in words) == (command[0] != "list")
    assert world.run("show", "shop", BACKUP, "--json").document["sample"]["of_tables"] == 7


def test_a_verification_that_is_not_waited_for_names_the_backup(world: World) -> None:
    world.store_backup()
    document = world.run("verify", "shop", "latest", "--json").document
    assert document == {"database": "shop", "backup_id": BACKUP, "status": "started"}
    assert world.functions.calls[-1] == ("verify", {"database": "shop", "backup_id": BACKUP}, False)


@pytest.mark.parametrize(
    ("verdict", "upgrade", "code"),
    [
        ("proven", "upgrade-ready", 0),
        ("proven", "upgrade-blocked", 1),
        ("proven", "inconclusive", 3),
        ("inconclusive", "upgrade-blocked", 1),
        ("failed", "inconclusive", 1),
    ],
)
def test_a_rehearsed_upgrade_counts_in_the_exit_code(
    world: World, verdict: str, upgrade: str, code: int
) -> None:
    world.store_backup()
    index = {"level": "refuse", "code": "exception-index", "object": "by_old", "message": "gone in 17"}
    report = {
        "major": 18,
        "verdict": upgrade,
        "reasons": [index],
        "compared": {},
        "server_version": "PostgreSQL 18",
    }
    world.functions.answers["verify"] = lambda _: {**VERIFIED, "verdict": verdict, "upgrade": report}
    outcome = world.run("verify", "shop", "latest", "--upgrade-to", "18", "--wait")
    assert outcome.code == code
    assert world.functions.calls[-1][1]["upgrade_to"] == 18
    assert "PostgreSQL 18" in outcome.out
    assert "by_old" in outcome.out


@pytest.mark.parametrize("options", [[], ["--wait"]])
def test_what_is_no_upgrade_is_told_before_a_verification_is_started(
    world: World, options: list[str]
) -> None:
    world.store_backup()
    outcome = world.run("verify", "shop", "latest", "--upgrade-to", "16", *options, "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, "no-upgrade")
    assert "PostgreSQL 16 is no upgrade" in outcome.document["error"]["message"]
    assert world.functions.calls == []


def test_a_rehearsal_that_isnt_waited_for_is_of_the_backup_that_was_looked_at(world: World) -> None:
    world.store_backup()
    outcome = world.run("verify", "shop", "latest", "--upgrade-to", "18", "--json")
    event = {"database": "shop", "backup_id": BACKUP, "upgrade_to": 18}
    assert outcome.document == {**event, "status": "started"}
    assert world.functions.calls == [("verify", event, False)]


@pytest.mark.parametrize("reference", ["latest", BACKUP])
def test_an_upgrade_of_what_isnt_there_is_told_as_such(world: World, reference: str) -> None:
    for code in ("unknown-database", "unknown-backup"):
        outcome = world.run("verify", "shop", reference, "--upgrade-to", "18", "--json")
        assert (outcome.code, outcome.document["error"]["code"]) == (2, code)
        if code == "unknown-database":
            world.register()
    assert world.functions.calls == []


def test_show_lists_the_newest_upgrades_that_were_rehearsed_with_exactly_this_backup(world: World) -> None:
    root = world.store_backup()
    for day, verdict in enumerate(["upgrade-ready"] * 6 + ["upgrade-blocked"], 1):
        time = f"2026-11-{20 + day}T03:00:00.000000Z"
        world.catalogue.record_rehearsal(make_rehearsal(BACKUP, time, verdict, root=root))  # type: ignore[arg-type]
    other = BACKUP.replace("20261120", "20261119")
    for rehearsal in (
        make_rehearsal(BACKUP, "2026-12-01T00:00:00.000000Z", "inconclusive", root="0" * 64),
        make_rehearsal(other, "2026-12-02T00:00:00.000000Z", "inconclusive", root=root),
    ):
        world.catalogue.record_rehearsal(rehearsal)
    outcome = world.run("show", "shop", BACKUP)
    for words in (
        "2026-11-27 03:00:00 UTC",
        "16.14 to 18",
        "upgrade-blocked",
        "public.by_old",
        "shop/upgrades/",
    ):
        assert words in outcome.out
    found = world.run("show", "shop", BACKUP, "--json").document
    assert found["verdict"] is None, "a rehearsal is no proof"
    assert [(one["verdict"], one["time"][8:10]) for one in found["rehearsals"]] == [
        ("upgrade-blocked", "27"),
        *[("upgrade-ready", day) for day in ("26", "25", "24", "23")],
    ]


def test_partitions_that_are_compared_as_one_table_do_not_look_like_tables_that_were_not(
    world: World,
) -> None:
    told = "tables, partitions loaded through one root as one"
    for tables, compared, said in ((55, 52, True), (55, 55, False)):
        numbers = {"tables": tables, "compared": {"tables": compared}}
        world.functions.answers["verify"] = lambda _, numbers=numbers: {**VERIFIED, **numbers}
        assert (told in world.run("verify", "shop", "latest", "--wait").out) is said


def test_show_says_what_the_newest_verification_compared(world: World) -> None:
    root = world.store_backup()
    result = {**VERIFIED, "root_hash": root, "compared": {"tables": 2, "grants": 31}}
    key = f"shop/proofs/{BACKUP}/2026-11-20T03:01:00.000000Z.json"
    boto3.client("s3").put_object(Bucket="vault", Key=key, Body=json.dumps(result).encode())
    assert world.run("show", "shop", BACKUP, "--json").document["compared"]["grants"] == 31
    assert "grants" in world.run("show", "shop", BACKUP).out
