"""A proof works in a box like Lambda's."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.fakes.store import MemoryStore
from tests.support import box
from tests.support.postgres import create, customer_server
from tests.support.vault import Verbs

RICH = (Path(__file__).parent / "rich.sql").read_text()


def packed(store: MemoryStore) -> bytes:
    """The store's objects as a tar archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for key in store.keys():  # noqa: SIM118 - not a mapping
            body = store.get(key).read()
            member = tarfile.TarInfo(key)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return content.getvalue()


def proven_in_box(store: MemoryStore, postgres_root: Path) -> dict[str, Any]:
    """What `in_box` says about the store's newest backup."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{ROOT}:{ROOT}/layers/common",  # this tree, whichever is installed
        "PYTHONDONTWRITEBYTECODE": "1",
        "COFFRE_STACK": "box",
        "COFFRE_BUCKET": "not-reached",
        "COFFRE_TABLE": "not-reached",
        "COFFRE_POSTGRES": str(postgres_root),
        "AWS_ACCESS_KEY_ID": "AKIDBOX",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-box",
        "AWS_SESSION_TOKEN": "token-of-the-box",
    }
    script = str(Path(__file__).parent / "in_box.py")
    done = box.run([sys.executable, script], environment=environment, content=packed(store))
    if done.returncode == box.REFUSED:
        pytest.skip(f"this kernel gives nobody namespaces: {done.stderr.decode()}")
    assert done.returncode == 0, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("major", [14, 18])
def test_a_proof_succeeds_in_a_box_like_lambdas(
    postgres_root: Path, scratch_root: Path, verbs: Verbs, major: int
) -> None:
    with customer_server(postgres_root, major, scratch_root) as server:
        verbs.backup(create(server, "rich", RICH))
    found = proven_in_box(verbs.store, postgres_root)
    assert found["around"] == {
        "known": False,
        "network": False,
        "writable": [],
        "shared": False,
        "uid": box.USER,
    }
    assert (found["answer"]["reasons"], found["answer"]["verdict"]) == ([], "proven")
    assert found["answer"]["server_version"] == f"PostgreSQL {major}"
    assert [path for path in found["left"] if not box.ROOT.is_relative_to(path)] == []
    assert found["peeked"] == {"usually": True, "proving": False}
