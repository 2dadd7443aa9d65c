"""A drill restores for real, is timed, leaves nothing behind, and counts as a measured restore.

A load test drills while it watches the application.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from coffre.catalogue.objectives import report
from coffre.databases.endpoints import LONGEST_SECONDS, Endpoint
from coffre.databases.postgresql.server import EphemeralServer
from coffre.ids import utc_now
from coffre.vault.layout import Layout
from coffre_cli.main import main
from tests.support.application import application
from tests.support.postgres import create, databases, sql, target, url
from tests.support.stack import FunctionError, Stack

CONTENT = "CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS what FROM generate_series(1, 5000) n"


@pytest.fixture(scope="module")
def drilled(stack: Stack, server16: EphemeralServer) -> Iterator[str]:
    """A registered database with a backup and a scratch server."""
    create(server16, "drilled", CONTENT)
    scratch = stack.target(url(server16, "postgres"))
    stack.register("drilled", url(server16, "drilled"), scratch=scratch, rto_minutes=10)
    stack.backup("drilled")
    stack.drain()
    yield "drilled"


def test_a_drill_restores_compares_and_leaves_nothing(
    stack: Stack, server16: EphemeralServer, drilled: str
) -> None:
    before = databases(server16)
    answer = stack.call("restore", action="drill", database=drilled)
    assert (answer["status"], answer["rows"], answer["digests_equal"]) == ("completed", 5000, True)
    assert {"schema", "rows", "digests", "indexes", "analyze"} <= set(answer["phases"])
    assert databases(server16) == before
    assert stack.told(drilled, "Drill").type == "Drill Completed"
    newest = next(entry for entry in stack.catalogue.restores(drilled) if entry.kind == "drill")
    assert (newest.kind, newest.status, newest.backup_id) == ("drill", "completed", answer["backup_id"])
    met = report(drilled, stack.registry.get(drilled), stack.catalogue, days=1, now=utc_now())
    assert (met.restores_measured, met.rpo_met, met.rto_met) == (1, True, True)


def test_a_drill_can_leave_its_database_to_look_at(
    stack: Stack, server16: EphemeralServer, drilled: str
) -> None:
    secret = stack.target(url(server16, "postgres"))
    answer = stack.call("restore", action="drill", database=drilled, target_secret=secret, keep=True)
    kept = answer["kept_as"]
    assert sql(target(server16, kept), "SELECT count(*) FROM orders") == [[5000]]
    sql(target(server16, "postgres"), f'DROP DATABASE "{kept}"')


def test_the_weekly_schedule_drills_what_has_a_scratch_server(stack: Stack, drilled: str) -> None:
    before = len(list(stack.catalogue.restores(drilled)))
    stack.events(drilled)
    stack.fire("drill-weekly", "2026-11-22T10:30:00Z")
    stack.drain()
    assert len(list(stack.catalogue.restores(drilled))) == before + 1


def test_a_month_is_reported_on_with_its_drills_and_written_once_it_is_over(
    stack: Stack, drilled: str
) -> None:
    (going_on,) = stack.call("report", database=drilled, month=f"{utc_now():%Y-%m}")["reports"]
    told = going_on["report"]
    assert (going_on["status"], told["restores"][0]["kind"], told["verdict"]) == (
        "unfinished",
        "drill",
        "met",
    )
    assert told["vault"]["objects"] == len(stack.keys(f"{drilled}/")) > 0
    keys = [Layout(drilled).report("2026-01", kind) for kind in ("json", "html")]
    for status in ("written", "exists"):
        (over,) = stack.call("report", database=drilled, month="2026-01")["reports"]
        assert (over["status"], over["report"]["verdict"], over["keys"]) == (status, "missed", keys)
    assert [key for key in stack.keys(f"{drilled}/reports/") if "exercises" not in key] == sorted(keys)
    assert [event.type for event in stack.events(drilled)].count("Report Written") == 1


def test_the_quarterly_schedule_leaves_a_protocol_beside_the_reports(stack: Stack, drilled: str) -> None:
    stack.fire("drill-quarterly", "2026-10-15T11:30:00Z")
    stack.drain()
    kinds = [key.rpartition(".")[2] for key in stack.keys(f"{drilled}/reports/exercises/")]
    assert kinds == ["html", "md"]
    (markdown,) = [key for key in stack.keys(f"{drilled}/reports/exercises/") if key.endswith(".md")]
    text = stack.store.read(markdown, limit=1 << 20).decode()
    assert "Result: **restored and equal, objectives met**" in text
    assert "Protocol Written" in [event.type for event in stack.events(drilled)]


def test_a_load_test_notices_an_application_that_fails_in_the_middle(
    stack: Stack,
    server16: EphemeralServer,
    drilled: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with application() as app:
        # However few questions there is time for: each of the three stages has one.
        endpoints = [
            Endpoint(url=app.set("/health", 200, 503), within=LONGEST_SECONDS),
            Endpoint(url=app.set("/", 200), within=LONGEST_SECONDS),
        ]
        scratch = stack.target(url(server16, "postgres"))
        where = url(server16, drilled)
        stack.register("loaded", where, scratch=scratch, rto_minutes=10, endpoints=endpoints)
        before = databases(server16)
        monkeypatch.setenv("COFFRE_HOME", str(stack.state))
        capsys.readouterr()
        code = main(["loadtest", "loaded", "--interval", "0.2", "--baseline", "0", "--json"])
    report = json.loads(capsys.readouterr().out)
    parts = {part["name"]: part["verdict"] for part in report["parts"]}
    assert (code, report["verdict"]) == (1, "missed")
    assert parts == {
        "integrity": "met",
        "RPO": "met",
        "RTO": "met",
        "availability": "missed",
        "source": "met",
    }
    assert [reason["code"] for reason in report["reasons"] if reason["level"] == "refuse"] == [
        "availability-missed"
    ]
    failing, steady, source = report["watched"]
    assert failing["meanwhile"]["asked"] - failing["meanwhile"]["right"] >= 2
    assert failing["meanwhile"]["outage_seconds"] > 0
    assert "answered 503" in failing["meanwhile"]["reason"]
    assert steady["meanwhile"]["percent"] == source["meanwhile"]["percent"] == 100
    (done,) = report["rounds"]
    assert (done["proof"]["verdict"], done["restore"]["digests_equal"]) == ("proven", True)
    assert done["backup"]["rows"] == done["restore"]["rows"] == done["proof"]["rows"] == 5000
    assert set(done["restore"]["phases_bytes_per_second"]) == {"rows", "digests"}
    assert databases(server16) == before
    kept = json.loads(stack.store.read(report["saved"][0], limit=1 << 20))
    assert kept == {name: value for name, value in report.items() if name != "saved"}
    assert stack.told("loaded", "Load Test").type == "Load Test Completed"


def test_a_source_that_cannot_be_reached_is_told_by_a_question(stack: Stack) -> None:
    stack.register("unreachable", "postgresql://u@127.0.0.1:1/db?sslmode=disable")
    answer = stack.call("health", action="probe", database="unreachable")
    assert (answer["source"]["up"], answer["endpoints"]) == (False, [])
    assert "127.0.0.1:1" in answer["source"]["reason"]


def test_without_a_scratch_server_a_drill_says_what_is_missing(
    stack: Stack, server16: EphemeralServer
) -> None:
    stack.register("undrilled", url(server16, "postgres"))
    with pytest.raises(FunctionError) as error:
        stack.call("restore", action="drill", database="undrilled")
    assert error.value.code == "no-scratch-server"


def test_a_drill_that_fails_says_so_and_leaves_nothing(
    stack: Stack, server16: EphemeralServer, drilled: str
) -> None:
    before = databases(server16)
    key = max(stack.keys(Layout(drilled).chunks))
    for version in list(stack.store.versions(key)):
        stack.store.delete_version(key, version.version)
    with pytest.raises(FunctionError) as error:
        stack.call("restore", action="drill", database=drilled)
    assert error.value.code == "object-missing"
    assert databases(server16) == before
    assert stack.told(drilled, "Drill").type == "Drill Failed"
