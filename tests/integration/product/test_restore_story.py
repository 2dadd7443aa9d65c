"""A damaged database is replaced and put back: by the command, and by the console's test events."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from coffre.databases.postgresql.server import EphemeralServer
from coffre_cli.main import main
from tests.support.postgres import create, databases, sql, target, url
from tests.support.stack import FunctionError, Stack

EVENTS = Path(__file__).parents[3] / "events" / "restore"
PASSWORD = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def garden(stack: Stack, server16: EphemeralServer) -> Iterator[str]:
    """A registered database that was backed up and damaged, with a role that has a password."""
    where = create(server16, "garden", "CREATE TABLE plants AS SELECT generate_series(1, 40) AS id")
    sql(where, f"CREATE ROLE gardener LOGIN PASSWORD '{PASSWORD}'", "ALTER TABLE plants OWNER TO gardener")
    stack.register("garden", url(server16, "garden"), prove="never")
    stack.backup("garden")
    sql(where, "TRUNCATE plants")
    yield "garden"


@pytest.fixture
def coffre(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """The command; its JSON document."""
    monkeypatch.setenv("COFFRE_HOME", str(stack.state))
    monkeypatch.delenv("COFFRE_STACK", raising=False)

    def run(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main([*arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return run


def plants(server: EphemeralServer, name: str = "garden") -> int:
    return int(sql(target(server, name), "SELECT count(*) FROM plants")[0][0])


def test_the_command_replaces_a_database_and_puts_it_back(
    stack: Stack, garden: str, server16: EphemeralServer, coffre: Callable[..., Any]
) -> None:
    before = databases(server16)
    result = coffre("restore", garden, "latest", "--mode", "swap", "--yes", "--wait")
    assert (plants(server16), plants(server16, result["kept_as"])) == (40, 0)
    shown = coffre("show", garden, result["safety_backup"])
    assert (shown["type"], shown["status"]) == ("safety", "completed")

    undone = coffre("restore", "undo", garden, "--yes")
    assert (plants(server16), plants(server16, undone["kept_as"])) == (0, 40)
    assert databases(server16) == before | {undone["kept_as"]}
    again = coffre("restore", "undo", garden, "--yes", code=2)
    assert again["error"]["code"] == "undo-impossible"
    history = coffre("restore", "list", garden)
    assert [entry["kind"] for entry in history] == ["undo", "swap"]


def test_the_consoles_events_do_it_too_each_token_once(
    stack: Stack, garden: str, server16: EphemeralServer
) -> None:
    def send(name: str, **more: str) -> dict[str, Any]:
        event = json.loads((EVENTS / name).read_text())
        fitting = {"database": garden, "target_secret": secret, **more}
        return stack.call("restore", **{**event, **fitting})

    secret = stack.target(url(server16, "garden_beside"))
    plan = send("plan.json")
    send("run.json", backup=plan["backup_id"], token=plan["token"])
    assert plants(server16, "garden_beside") == 40

    secret = stack.target(url(server16, "garden"))
    plan = send("plan-swap.json")
    with pytest.raises(FunctionError) as foreign:
        send("run-swap.json", backup=plan["backup_id"])
    assert foreign.value.code in {"plan-unknown", "plan-changed"}
    swapped = send("run-swap.json", backup=plan["backup_id"], token=plan["token"])
    assert plants(server16) == 40
    with pytest.raises(FunctionError) as elsewhere:
        send("run-undo.json", token=plan["token"])
    assert elsewhere.value.code == "plan-used"
    undo = send("plan-undo.json")
    assert undo["comes_back"] == swapped["kept_as"]
    send("run-undo.json", token=undo["token"])
    assert plants(server16) == 0
    with pytest.raises(FunctionError) as twice:
        send("run-undo.json", token=undo["token"])
    assert twice.value.code == "undo-impossible"


def test_no_object_of_the_vault_holds_a_password_or_its_hash(
    stack: Stack, garden: str, server16: EphemeralServer
) -> None:
    ((scram,),) = sql(
        target(server16, "postgres"), "SELECT rolpassword FROM pg_authid WHERE rolname = 'gardener'"
    )
    assert scram.startswith("SCRAM-SHA-256$")
    searched = 0
    for key in stack.keys(""):
        body = stack.store.read(key, limit=1 << 28)  # another test's value of 100 MB lies there, too
        if body.startswith(b"\x28\xb5\x2f\xfd"):
            body += zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body)).read()
        for secret in (PASSWORD, scram, scram.rpartition("$")[2]):
            assert secret.encode() not in body, key
        searched += b"gardener" in body
    assert searched >= 2, "the role itself is there: in the globals and in the parts"
