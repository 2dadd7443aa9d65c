"""No proof passes without proving, and no restore goes on after rows that don't fit (D02, D07, D08)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from coffre.errors import ManifestInvalidError
from coffre.events.verify import ProveRequest
from coffre.prove import run as prove
from coffre.prove.job import Services as ProveServices
from coffre.vault.layout import Layout
from coffre.vault.reader import load_manifest
from coffre.vault.ticket import Ticket, issue_ticket
from tests.faults.conftest import Desk
from tests.support.postgres import create, databases, sql, url
from tests.support.stack import FunctionError, Stack, start_workers

PROOF_SECONDS = 120


def test_a_backup_without_a_table_is_not_proven(stack: Stack, server: EphemeralServer) -> None:
    create(server, "nothing-there")
    stack.register("nothing-there", url(server, "nothing-there"))
    assert stack.backup("nothing-there")["relations"] == 0
    proof = stack.told("nothing-there", "Proof")
    assert proof.type == "Proof Failed"
    assert [reason["code"] for reason in proof.detail["reasons"]] == ["nothing-compared"]


def test_rows_that_change_after_the_snapshot_do_not_matter(stack: Stack, server: EphemeralServer) -> None:
    made = create(server, "moving", "CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 500) i")
    stack.register("moving", url(server, "moving"), prove="never")
    backup_id = stack.backup("moving")["backup_id"]
    stack.drain()
    sql(made, "DELETE FROM t WHERE id > 100; UPDATE t SET id = -id; CREATE TABLE later (id int)")
    stack.register("moving", url(server, "moving"), prove="every")
    answer = stack.call("verify", database="moving", backup_id=backup_id)
    assert (answer["reasons"], answer["verdict"]) == ([], "proven")
    assert (answer["compared"]["tables"], answer["compared"]["rows"]) == (1, 500)


def test_rows_that_break_a_constraint_fail_the_proof_and_stop_a_restore_that_doesnt_accept_them(
    stack: Stack, server: EphemeralServer
) -> None:
    """The rows satisfied the check when they came; its function has changed since."""
    create(
        server,
        "unfit",
        "CREATE FUNCTION is_open() RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "CREATE TABLE items (id int, CHECK (is_open()))",
        "INSERT INTO items SELECT generate_series(1, 30000)",
        "CREATE OR REPLACE FUNCTION is_open() RETURNS boolean LANGUAGE sql AS 'SELECT false'",
        "CREATE TABLE filler AS SELECT generate_series(1, 20000) AS id",
    )
    stack.register("unfit", url(server, "unfit"))
    stack.backup("unfit")
    proof = stack.told("unfit", "Proof")
    assert proof.type == "Proof Failed"
    assert "items" in proof.detail["reasons"][0]["message"]

    before = databases(server)
    with pytest.raises(FunctionError) as stopped:
        stack.restore("unfit", url(server, "unfit_restored"))
    assert (stopped.value.code, "items" in str(stopped.value)) == ("restore-exceptions", True)
    assert databases(server) == before
    assert stack.told("unfit", "Restore").type == "Restore Failed"
    result = stack.restore("unfit", url(server, "unfit_restored"), exceptions="accept")
    assert [(found["code"], found["count"]) for found in result["exceptions"]] == [("exception-check", 30000)]
    assert (result["rows"], result["digests_equal"]) == (50000, True)


def test_the_owners_checks_and_the_rehearsal_of_an_upgrade_reach_the_proof(
    stack: Stack, server: EphemeralServer
) -> None:
    create(server, "checked", "CREATE TABLE items AS SELECT n AS id FROM generate_series(1, 9) n")
    holds = {"name": "nine", "sql": "SELECT count(*) FROM items", "expect": 9}
    stack.register("checked", url(server, "checked"), checks=[holds])
    backup_id = stack.backup("checked")["backup_id"]
    proof = stack.told("checked", "Proof")
    assert (proof.type, proof.detail["compared"]["checks"]) == ("Proof Passed", 1)
    stack.register("checked", url(server, "checked"), checks=[holds, {**holds, "name": "ten", "expect": 10}])
    answer = stack.call("verify", database="checked", backup_id=backup_id, upgrade_to=18)
    assert [(reason["code"], reason["object"]) for reason in answer["reasons"]] == [("check-failed", "ten")]
    assert (answer["verdict"], answer["upgrade"]["verdict"]) == ("failed", "inconclusive")
    assert stack.catalogue.backup("checked", backup_id).verdict == "failed"
    stack.register("checked", url(server, "checked"), checks=[holds])
    answer = stack.call("verify", database="checked", backup_id=backup_id, upgrade_to=18)
    assert (answer["verdict"], answer["upgrade"]["verdict"]) == ("proven", "upgrade-ready")
    assert (answer["upgrade"]["server_version"], answer["upgrade"]["compared"]["checks"]) == (
        "PostgreSQL 18",
        1,
    )


@contextmanager
def ticket_for(desk: Desk, **changes: str) -> Iterator[ProveRequest]:
    """A ticket of a fresh backup of the desk's database, with lies in it."""
    answer = desk.backup()
    manifest, digest = load_manifest(desk.services.store, desk.name, answer.backup_id)
    key = Layout(desk.name).manifest(answer.backup_id)
    honest = {"database": desk.name, "backup_id": manifest.id, "root_hash": digest, "manifest": key}
    keys = [*desk.stack.keys(f"{desk.name}/")]
    ticket = Ticket(**{**honest, **changes})
    found = issue_ticket(desk.services.store, ticket, ((k, None) for k in keys), seconds=PROOF_SECONDS)
    yield ProveRequest(ticket_url=found, seconds=PROOF_SECONDS)


def prover(postgres_root: Path, scratch: Path) -> ProveServices:
    return ProveServices(postgres_root, scratch, 10 << 30, start_workers)


def test_a_proof_is_about_the_manifest_that_its_ticket_names(
    desk: Desk, postgres_root: Path, scratch_root: Path
) -> None:
    with ticket_for(desk, root_hash="0" * 64) as request:
        report = prove.run(request, prover(postgres_root, scratch_root))
    assert (report.verdict, report.reasons[0].code) == ("failed", ManifestInvalidError.code)


def test_a_proof_starts_from_nothing_and_leaves_nothing(
    desk: Desk, postgres_root: Path, scratch_root: Path
) -> None:
    before = set(scratch_root.iterdir())
    with ticket_for(desk) as request:
        for _ in range(2):
            report = prove.run(request, prover(postgres_root, scratch_root))
            assert (report.verdict, report.reasons) == ("proven", [])
    assert set(scratch_root.iterdir()) == before


def test_a_proof_that_cannot_reach_its_ticket_says_nothing_about_the_backup(
    desk: Desk, postgres_root: Path, scratch_root: Path
) -> None:
    request = ProveRequest(ticket_url="http://127.0.0.1:1/ticket?X-Amz-Signature=0f0f", seconds=PROOF_SECONDS)
    report = prove.run(request, prover(postgres_root, scratch_root))
    assert (report.verdict, report.reasons[0].code) == ("inconclusive", "store-unavailable")
    assert "0f0f" not in report.model_dump_json(), "a presigned URL is a credential"
