"""`coffre loadtest` as its user sees it: functions are played, verdict and report are real."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from coffre.catalogue.entries import RestoreEntry
from coffre.ids import backup_id, stamp, utc_now
from coffre.results import (
    BackupResult,
    Compared,
    DrillResult,
    EndpointAnswer,
    ProbeResult,
    SourceAnswer,
    VerifyResult,
)
from tests.support.waiting import PATIENCE_SECONDS
from tests.unit.cli.conftest import STACK, FunctionError, Outcome, World

URL = "http://127.0.0.1:8199/health"
QUICK = ("--interval", "0.2", "--baseline", "0.1")
SCRATCH = ("--to", "postgresql://u:hidden@scratch.example/postgres")


class Played:
    """What the functions of a stack do in a load test."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.up = True
        self.asked_in_vain = threading.Event()
        self.verdict: Any = "proven"
        self.reports: list[dict[str, Any]] = []
        world.functions.answers |= {
            "health": self.health,
            "backup": self.backup,
            "restore": self.drill,
            "report": self.report,
        }

    def health(self, event: dict[str, Any]) -> dict[str, Any]:
        """One question."""
        assert event == {"action": "probe", "database": "shop"}
        if not self.up:
            self.asked_in_vain.set()
        answer = EndpointAnswer(url=URL, up=self.up, status=200 if self.up else 503, seconds=0.002, reason="")
        return ProbeResult(
            database="shop", endpoints=[answer], source=SourceAnswer(up=True, seconds=0.003)
        ).answer()

    def backup(self, event: dict[str, Any]) -> dict[str, Any]:
        """A backup, and the verification that its event starts."""
        assert (event["type"], event["reason"]) == ("manual", "load test")
        identifier = backup_id("shop", "manual", datetime.fromisoformat(event["scheduled_time"]))
        root = self.world.store_backup(identifier=identifier)
        evidence = f"shop/proofs/{identifier}/{stamp(utc_now())}.json"
        found = VerifyResult(
            database="shop",
            backup_id=identifier,
            verdict=self.verdict,
            reasons=[],
            root_hash=root,
            completed=stamp(utc_now()),
            tables=2,
            rows=10,
            bytes=1000,
            compared=Compared(tables=2, rows=10, digests=2),
            evidence=evidence,
            seconds=3,
            phases={"schema": 0.5, "rows": 2},
        )
        boto3.client("s3").put_object(Bucket="vault", Key=evidence, Body=found.model_dump_json())
        self.world.catalogue.verdict(found)
        if self.verdict == "proven":
            entry = RestoreEntry(
                "shop", stamp(utc_now()), "proof", "completed", identifier, milliseconds=2500
            )
            self.world.catalogue.record_restore(entry)
        return BackupResult(
            database="shop",
            backup_id=identifier,
            status="completed",
            rows=10,
            bytes=1000,
            new_bytes=300,
            relations=2,
            seconds=2,
            phases={"prepare": 0.5, "rows": 1, "commit": 0.5},
            root_hash=root,
        ).answer()

    def drill(self, event: dict[str, Any]) -> dict[str, Any]:
        """A drill of exactly the backup that was taken."""
        newest = next(self.world.catalogue.backups("shop"))
        assert (event["action"], event["backup"]) == ("drill", newest.backup_id)
        return DrillResult(
            database="shop",
            backup_id=event["backup"],
            server="scratch.example:5432",
            kept_as=None,
            tables=2,
            rows=10,
            bytes=1000,
            seconds=5,
            phases={"schema": 1, "rows": 2, "digests": 1},
            digests_equal=True,
            findings=[],
        ).answer()

    def report(self, event: dict[str, Any]) -> dict[str, Any]:
        """Keeps the report."""
        self.reports.append(event["report"])
        keys = ["shop/reports/loadtests/x.json", "shop/reports/loadtests/x.html"]
        verdict = event["report"]["verdict"]
        return {"database": "shop", "status": "written", "verdict": verdict, "keys": keys}


@pytest.fixture
def played(world: World) -> Played:
    """A registered database with an endpoint and an RTO."""
    where = ("--url", "postgresql://reader:hidden@db.example:5432/shop")
    decided = ("--endpoint", URL, "--rto-minutes", "10", "--rpo-hours", "100000", "--availability", "99")
    assert world.run("databases", "add", "shop", *where, *decided).code == 0
    return Played(world)


def run(played: Played, *more: str) -> Outcome:
    """A load test."""
    return played.world.run("loadtest", "shop", *QUICK, *more)


def test_a_test_with_a_scratch_server_measures_everything(played: Played) -> None:
    outcome = run(played, *SCRATCH, "--rounds", "2", "--json")
    document = outcome.document
    assert (outcome.code, document["verdict"], document["reasons"]) == (0, "met", [])
    assert [one["number"] for one in document["rounds"]] == [1, 2]
    first, second = document["rounds"]
    assert first["backup"]["backup_id"] != second["backup"]["backup_id"]
    assert (first["backup"]["bytes_per_second"], first["backup"]["rows_per_second"]) == (500, 5)
    assert first["backup"]["phases_bytes_per_second"] == {"rows": 1000}
    assert (first["restore"]["kind"], first["restore"]["bytes_per_second"]) == ("drill", 200)
    assert (first["proof"]["verdict"], first["proof"]["digests"]) == ("proven", 2)
    assert {one["stage"] for one in document["stages"]} == {"baseline", "backup", "proof", "restore"}
    assert document["saved"] == ["shop/reports/loadtests/x.json", "shop/reports/loadtests/x.html"]
    assert played.reports == [{key: value for key, value in document.items() if key != "saved"}]
    assert list(played.world.secrets()) == [f"coffre/{STACK}/databases/shop"], "the scratch server's is gone"


def test_without_a_scratch_server_the_restore_of_the_proof_is_measured(played: Played) -> None:
    document = run(played, "--json").document
    (only,) = document["rounds"]
    assert (only["restore"]["kind"], only["restore"]["seconds"]) == ("proof", 2.5)
    assert only["restore"]["phases"] == {"schema": 0.5, "rows": 2}
    assert [reason["code"] for reason in document["reasons"]] == ["restored-by-proof"]
    assert document["verdict"] == "met"


def test_an_application_that_fails_meanwhile_is_missed(played: Played, tmp_path: Path) -> None:
    drill = played.drill

    def fall_over(event: dict[str, Any]) -> dict[str, Any]:
        played.up = False
        assert played.asked_in_vain.wait(PATIENCE_SECONDS)
        return drill(event)

    played.world.functions.answers["restore"] = fall_over
    page = tmp_path / "report.html"
    outcome = run(played, *SCRATCH, "--html", str(page))
    assert outcome.code == 1
    assert "availability-missed" in outcome.out
    assert "missed" in outcome.out.splitlines()[0], "the verdict comes first"
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert played.reports[0]["verdict"] == "missed"


def test_a_proof_that_is_inconclusive_is_not_met(played: Played) -> None:
    played.verdict = "inconclusive"
    outcome = run(played)
    assert outcome.code == 1, "nothing is proven, so the RPO is missed"
    assert "restore-not-measured" in outcome.out


def test_a_restore_that_fails_ends_the_rounds_and_is_told(played: Played) -> None:
    def fail(_: dict[str, Any]) -> Any:
        raise FunctionError("ObjectMissingError", "[object-missing] chunk 5f is gone. Verify the backup.")

    played.world.functions.answers["restore"] = fail
    outcome = run(played, *SCRATCH, "--rounds", "3", "--json")
    document = outcome.document
    assert (outcome.code, document["verdict"], len(document["rounds"])) == (1, "missed", 1)
    assert document["rounds"][0]["fault"]["code"] == "object-missing"
    assert document["reasons"][0]["code"] == "object-missing"


def test_a_scratch_server_that_cannot_be_used_proves_nothing(played: Played) -> None:
    def fail(_: dict[str, Any]) -> Any:
        raise FunctionError(
            "SourceUnreachableError", "[source-unreachable] no way to scratch.example. Check it."
        )

    played.world.functions.answers["restore"] = fail
    outcome = run(played, *SCRATCH, "--json")
    assert (outcome.code, outcome.document["verdict"]) == (3, "inconclusive")
    codes = [reason["code"] for reason in outcome.document["reasons"]]
    assert codes == ["source-unreachable", "restore-not-measured"]


def test_a_database_that_somebody_else_backs_up_is_inconclusive(played: Played) -> None:
    def busy(_: dict[str, Any]) -> Any:
        raise FunctionError("LeaseHeldError", "[lease-held] shop is being backed up. Wait for it.")

    played.world.store_backup()
    played.world.functions.answers["backup"] = busy
    document = run(played, "--json").document
    integrity = next(part for part in document["parts"] if part["name"] == "integrity")
    assert integrity["verdict"] == "inconclusive"


def test_a_report_that_cannot_be_kept_is_shown_all_the_same(played: Played) -> None:
    def fail(_: dict[str, Any]) -> Any:
        raise FunctionError("StoreUnavailableError", "[store-unavailable] S3 doesn't answer. Try again.")

    played.world.functions.answers["report"] = fail
    outcome = run(played, "--json")
    assert outcome.document["saved"] == []
    assert "the report isn't kept in the vault: [store-unavailable]" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nothing",), "unknown-database"),
        (("shop", "--ca", "x.pem"), "bad-usage"),
        (("shop", "--rounds", "0"), "bad-usage"),
        (("shop", "--interval", "0.01"), "bad-usage"),
        (("shop", "--html", "/nowhere/page.html"), "bad-usage"),
    ],
)
def test_nothing_begins_that_could_not_be_done(played: Played, arguments: tuple[str, ...], code: str) -> None:
    outcome = played.world.run("loadtest", *arguments, "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, code)
    assert "backup" not in {verb for verb, _, _ in played.world.functions.calls}


def test_a_stack_that_cannot_ask_says_so_before_anything_begins(played: Played) -> None:
    def old(_: dict[str, Any]) -> Any:
        raise FunctionError("InvalidEventError", "[invalid-event] action: Extra inputs are not permitted.")

    played.world.functions.answers["health"] = old
    outcome = run(played)
    assert outcome.code == 2
    assert "backup" not in {verb for verb, _, _ in played.world.functions.calls}
