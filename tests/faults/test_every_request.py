"""Every request to a source, or to a restore's target, fails once in each way, and nothing is lost.

Like ``test_every_call``: a sample by seed, or all with ``COFFRE_FAULTS=all``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from coffre.backup import job
from coffre.databases.postgresql import connection
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError
from tests.faults.cases import FIRST, SECOND, WHOLE, Told, cases, clean_scratch, nobody_is_left
from tests.faults.injection import DIE, Way
from tests.faults.line import WAYS, FaultyLine
from tests.faults.world import Outcome, World
from tests.support.postgres import databases, dumped, sql, target
from tests.support.waiting import soon

SECONDS = 3.0
"""A run's time: a silent line must not take more of it, and a little."""

RESTORE_SECONDS = 5.0
PASSWORD = "hunter2-is-nowhere"

IN_TURN: list[Sequence[Way]] = [(way,) for way in WAYS] if WHOLE else [WAYS]
"""All cases take more than an hour: each way is a test of its own then."""


@pytest.fixture
def line(server: EphemeralServer) -> Iterator[FaultyLine]:
    """The line."""
    with FaultyLine(f"{server.socket_dir}/.s.PGSQL.{server.port}") as made:
        yield made


def over(line: FaultyLine, where: Target) -> Target:
    """The same database, over the line."""
    return replace(where, host="127.0.0.1", port=line.port, password=PASSWORD)


def leaks(world: World, outcome: Outcome) -> list[str]:
    """Where the password is told: errors, events, the catalogue, the vault (B17)."""
    error = outcome.error
    told = {
        "error": f"{error} {error.hint}" if error else "",
        "events": repr(world.events.entries),
        "catalogue": repr(world.dynamo.items),
        "vault": repr([world.store.get(key).read() for key in world.store.keys()]),  # noqa: SIM118
    }
    return [where for where, text in told.items() if PASSWORD in text]


def attempt(world: World, line: FaultyLine, action: Callable[[], Any], number: int, way: Way) -> Outcome:
    """An action one of whose requests fails; on a silent line, under limits that are soon met."""
    line.arm(number, way)
    with pytest.MonkeyPatch.context() as patch:
        if way is Way.TIMEOUT:
            patch.setattr(job, "COMMIT_SECONDS", 1.0)
            patch.setattr(connection, "SILENCE_SECONDS", 0.5)
            patch.setattr(connection, "CONNECT_SECONDS", 1.0)
        try:
            if not way.kills:
                return Outcome(result=action())
            return _killed(world, line, action)
        except CoffreError as error:
            return Outcome(error=error)
        finally:
            line.arm(-1, Way.ERROR)
            line.hang_up()


def _killed(world: World, line: FaultyLine, action: Callable[[], Any]) -> Outcome:
    """In a process of its own, which dies before the line goes on."""
    children: list[int] = []

    def kill() -> None:
        (child,) = soon(lambda: children, "its process id", pause=0.002)
        os.kill(child, DIE)
        soon(lambda: _has_ended(child), "its end", pause=0.002)

    line.on_kill = kill
    return world.killed(action, children.append)


def _has_ended(child: int) -> bool:
    try:
        return Path(f"/proc/{child}/stat").read_text().split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("ways", IN_TURN, ids=lambda ways: "-".join(way.name.lower() for way in ways))
def test_a_backup_loses_nothing_whichever_request_to_its_source_fails(
    world: World, line: FaultyLine, server: EphemeralServer, source: Target, ways: Sequence[Way]
) -> None:
    there = over(line, source)
    old = world.backup(source, FIRST).backup_id
    sql(source, "UPDATE goods SET name = 'sold' WHERE id = 7")
    before, kept = world.state(), world.versions()
    line.arm(-1, Way.ERROR)
    new = world.backup(there, SECOND).backup_id
    requests = line.requests
    whole = {name: world.content(name) for name in (old, new)}
    told = Told("backup from a failing source")
    for number, way in cases(requests, 12, ways):
        world.reset(before)
        hit = f"{way} of request {number} of {requests}"
        limit = SECONDS if way is Way.TIMEOUT else 120.0
        outcome = attempt(
            world, line, lambda limit=limit: world.backup(there, SECOND, seconds=limit), number, way
        )
        told.count(outcome)
        assert leaks(world, outcome) == [], hit
        assert kept.items() <= world.versions().items(), hit
        assert world.content(old) == whole[old], hit
        exists = world.manifest(new) is not None
        assert not exists or world.content(new) == whole[new], hit
        assert exists == (outcome.result is not None) or outcome.killed, hit
        assert world.status(new) in ("completed",) if exists else world.status(new) != "completed", hit
        assert nobody_is_left(server), hit
        clean_scratch(world, outcome)
        world.offset = timedelta(hours=1)
        again = world.backup(source, SECOND)
        world.offset = timedelta()
        assert again.status == ("skipped" if exists else "completed"), hit
        assert world.content(new) == whole[new], hit
    told.print(requests)


@pytest.mark.parametrize("ways", IN_TURN, ids=lambda ways: "-".join(way.name.lower() for way in ways))
def test_a_restore_never_looks_finished_whichever_request_to_its_target_fails(
    world: World,
    line: FaultyLine,
    server: EphemeralServer,
    source: Target,
    postgres_root: Path,
    ways: Sequence[Way],
) -> None:
    name = world.backup(source, FIRST).backup_id
    content, there = dumped(postgres_root, source), databases(server)
    kept = world.versions()
    direct = target(server, "restored")
    wanted = over(line, direct)
    token = world.plan(wanted, name).token

    def drop() -> None:
        for left in databases(server) - there:
            sql(target(server, "postgres"), f'DROP DATABASE "{left}" WITH (FORCE)')

    line.arm(-1, Way.ERROR)
    world.restore(wanted, name, token)
    requests = line.requests
    drop()
    told = Told("restore into a failing target")
    for number, way in cases(requests, 5, ways):
        hit = f"{way} of request {number} of {requests}"
        world.restore_seconds = RESTORE_SECONDS if way is Way.TIMEOUT else 120.0
        outcome = attempt(world, line, lambda: world.restore(wanted, name, token), number, way)
        world.restore_seconds = 120.0
        told.count(outcome)
        assert leaks(world, outcome) == [], hit
        assert world.versions() == kept, hit
        new = databases(server) - there
        assert "restored" in new or outcome.result is None, hit
        assert all(left == "restored" or "_restoring_" in left for left in new), hit
        assert nobody_is_left(server), hit
        clean_scratch(world, outcome)
        if "restored" not in new:
            assert world.restore(direct, name).digests_equal, hit
        assert dumped(postgres_root, direct) == content, hit
        assert dumped(postgres_root, source) == content, hit
        drop()
    told.print(requests)
