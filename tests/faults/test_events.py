"""Events that come twice, at once, or malformed; names that nobody knows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from tests.support.postgres import create, url
from tests.support.stack import FunctionError, Stack

TIME = "2026-11-03T03:00:00Z"
BACKUP = "20261103T030000Z-daily-0123ab"


@pytest.fixture(scope="module")
def twice(stack: Stack, server: EphemeralServer) -> str:
    """A registered database."""
    create(server, "twice", "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 50000) i")
    return stack.register("twice", url(server, "twice"), prove="never")


def test_the_same_event_twice_makes_one_backup(stack: Stack, twice: str) -> None:
    event = {"type": "daily", "scheduled_time": "2026-11-03T03:00:00Z", "database": twice}
    first, second = stack.call("backup", **event), stack.call("backup", **event)
    assert (first["status"], second["status"]) == ("completed", "skipped")
    assert first["backup_id"] == second["backup_id"]
    entry = stack.catalogue.backup(twice, first["backup_id"])
    assert entry is not None
    assert (entry.status, entry.rows) == ("completed", 50000)
    assert sum(first["backup_id"] in key for key in stack.manifests(twice)) == 1


def test_the_same_event_twice_at_once_makes_one_backup(stack: Stack, twice: str) -> None:
    event = {"type": "daily", "scheduled_time": "2026-11-04T03:00:00Z", "database": twice}

    def call(_: int) -> str:
        try:
            return str(stack.call("backup", **event)["status"])
        except FunctionError as error:
            return error.code

    with ThreadPoolExecutor(4) as threads:
        ends = sorted(threads.map(call, range(4)))
    assert ends.count("completed") == 1
    assert set(ends) <= {"completed", "skipped", "lease-held"}
    assert sum("20261104T030000Z" in key for key in stack.manifests(twice)) == 1
    assert call(0) == "skipped"
    entry = next(stack.catalogue.backups(twice), None)
    assert entry is not None
    assert (entry.status, entry.error_code) == ("completed", None), "whoever lost leaves no trace"
    assert stack.lease_is_free(twice)


MALFORMED: list[tuple[str, dict[str, Any]]] = [
    ("backup", {}),
    ("backup", {"type": "daily"}),
    ("backup", {"type": "dayly", "scheduled_time": TIME, "database": "twice"}),
    ("backup", {"type": "daily", "scheduled_time": "yesterday", "database": "twice"}),
    ("backup", {"type": "daily", "scheduled_time": "2026-11-03T03:00:00", "database": "twice"}),
    ("backup", {"type": "daily", "scheduled_time": TIME, "database": "../twice"}),
    ("backup", {"type": "daily", "scheduled_time": TIME, "database": "twice", "surprise": 1}),
    ("backup", {"type": "daily", "scheduled_time": TIME, "preflight_only": True}),
    ("verify", {}),
    ("verify", {"database": "twice"}),
    ("verify", {"database": "twice", "backup_id": "newest"}),
    ("verify", {"source": "aws.s3", "detail": {}}),
    ("verify", {"source": "aws.s3", "detail": {"object": {"key": "twice/chunks/00/00"}}}),
    ("prove-16", {"ticket_url": "x", "seconds": 10}),
    ("prove-16", {"ticket_url": "http://127.0.0.1/ticket", "seconds": -1}),
    ("prove-16", {"ticket_url": "http://127.0.0.1/ticket", "seconds": 10, "major": 13}),
    ("restore", {"action": "plan", "database": "twice"}),
    ("restore", {"action": "swap", "database": "twice", "target_secret": "s"}),
    ("restore", {"action": "run", "database": "twice", "target_secret": "s"}),
    ("restore", {"action": "plan", "database": "twice", "target_secret": "s", "roles": "theirs"}),
    ("rotate", {"database": "twice", "dryrun": True}),
    ("rotate", {"database": "twice", "dry_run": "perhaps"}),
    ("health", {"databases": ["twice"]}),
]


@pytest.mark.parametrize(("verb", "event"), MALFORMED, ids=lambda value: str(value)[:60])
def test_a_malformed_event_is_refused_and_nothing_changes(
    stack: Stack, twice: str, verb: str, event: dict[str, Any]
) -> None:
    stack.drain()
    before = stack.keys("")
    with pytest.raises(FunctionError) as refused:
        stack.call(verb, **event)
    assert (refused.value.kind, refused.value.code) == ("InvalidEventError", "invalid-event")
    assert stack.keys("") == before


UNKNOWN: list[tuple[str, dict[str, Any], str]] = [
    ("backup", {"type": "daily", "scheduled_time": TIME, "database": "nobody"}, "unknown-database"),
    ("verify", {"database": "nobody", "backup_id": BACKUP}, "unknown-backup"),
    ("verify", {"database": "twice", "backup_id": BACKUP}, "unknown-backup"),
    ("verify", {"database": "nobody", "backup_id": "latest"}, "unknown-backup"),
    ("restore", {"action": "plan", "database": "twice", "target_secret": "none"}, "secret-unreadable"),
    ("rotate", {"database": "nobody"}, "unknown-database"),
    ("health", {"database": "nobody"}, "unknown-database"),
]


@pytest.mark.parametrize(("verb", "event", "code"), UNKNOWN, ids=lambda value: str(value)[:60])
def test_a_name_that_nobody_knows_is_refused(
    stack: Stack, twice: str, verb: str, event: dict[str, Any], code: str
) -> None:
    with pytest.raises(FunctionError) as refused:
        stack.call(verb, **event)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("postgresql://u@nowhere.invalid/db", "source-unreachable"),
        ("postgresql://u@127.0.0.1:1/db", "source-unreachable"),
        ("postgresql:///db?host=/nonexistent&user=u", "source-unreachable"),
        ("mysql://u@127.0.0.1/db", "invalid-url"),
        ("postgresql://u@127.0.0.1/db?sslmode=prefer", "invalid-url"),
        ("postgresql://u:p@ep-x-pooler.eu-west-1.aws.neon.tech/db", "pooler-refused"),
    ],
)
def test_a_source_that_cannot_be_reached_is_told_apart(stack: Stack, where: str, code: str) -> None:
    stack.register("unreached", where)
    with pytest.raises(FunctionError) as refused:
        stack.backup("unreached")
    assert refused.value.code == code
    assert stack.manifests("unreached") == []
    assert stack.lease_is_free("unreached")
