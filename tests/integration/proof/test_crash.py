"""A proof whose server goes down, or whose version knows too little, says nothing about the backup."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.registration import Registration
from coffre.errors import FormatUnsupportedError
from coffre.prove import run as prove
from tests.integration.proof.conftest import Bench
from tests.support.waiting import PATIENCE_SECONDS

CONTENT = """
CREATE TABLE t (id int PRIMARY KEY, what text); INSERT INTO t SELECT n, 'x' FROM generate_series(1, 100) n;
CREATE UNLOGGED TABLE u AS SELECT n FROM generate_series(1, 100) n;
CREATE INDEX ON t (what); CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM t;
"""
CHECK = {"name": "all", "sql": "SELECT count(*) FROM t", "expect": "100"}


def crash(server: EphemeralServer) -> None:
    """Kill one of its processes, as a kernel does that has no more memory, and wait for what comes of it."""
    assert server._process is not None
    pid = server._process.pid
    child = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
    os.kill(int(child), signal.SIGKILL)
    server._process.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize(
    "moment", ["schemas_open_to_owners", "largest_first", "_after_grants", "compare", "_run_checks"]
)
def test_it_is_inconclusive(bench: Bench, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    servers, begin, real = list[EphemeralServer](), prove.own_superuser, getattr(prove, moment)

    def started(server: EphemeralServer) -> Any:
        servers.append(server)
        return begin(server)

    def crashed(*arguments: Any, **more: Any) -> Any:
        crash(servers[0])
        return real(*arguments, **more)

    monkeypatch.setattr(prove, "own_superuser", started)
    monkeypatch.setattr(prove, moment, crashed)
    bench.back_up(CONTENT)
    found = bench.prove(Registration.model_validate({"secret": "none", "checks": [CHECK]}))
    assert found.verdict == "inconclusive"
    assert {one.code for one in found.reasons} <= {"connection-lost", "source-unreachable"}


def test_a_backup_of_a_newer_version_is_not_called_failed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a deployment's functions some are newer than others for a while."""

    def unknown(*_: Any, **__: Any) -> Any:
        raise FormatUnsupportedError("the manifest requires news")

    monkeypatch.setattr(prove, "decode", unknown)
    bench.back_up(CONTENT)
    found = bench.prove()
    assert (found.verdict, [one.code for one in found.reasons]) == ("inconclusive", ["format-unsupported"])
