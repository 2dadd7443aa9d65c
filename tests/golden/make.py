"""Writes the golden archives of the format that this version writes.

Usage: ``python -m tests.golden.make POSTGRES`` with the folder of the PostgreSQL layer.  Archives of a
format are written once and then kept: every later version must restore them.  ``example`` is the backup that
``docs/format.md`` shows.  What is sealed is under `tests.fakes.kms.KEY`, which that stand-in for KMS unwraps.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from coffre.vault.layout import FORMAT
from tests.fakes.kms import KEY
from tests.fakes.store import MemoryStore
from tests.golden.content import content
from tests.support.postgres import create, customer_server
from tests.support.vault import Verbs, export

HERE = Path(__file__).parent
FORMATS = HERE / f"format{FORMAT}"
MAJORS = (16, 18)


def make(tools_root: Path, major: int, source: str, folder: Path, *, seal_key: str | None = None) -> None:
    """One archive and what it must restore to."""
    shutil.rmtree(folder, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory() as name,
        customer_server(tools_root, major, open_to_all(Path(name))) as server,
    ):
        made = create(server, "shop", (HERE / source).read_text())
        store = MemoryStore()
        Verbs(store, tools_root, Path(name)).backup(made, kind="daily", seal_key=seal_key)
        export(store, folder / "vault")
        expected = json.dumps(content(made), ensure_ascii=False, indent=1)
        (folder / "content.json").write_text(expected + "\n")


def open_to_all(folder: Path) -> Path:
    """``folder``, made so that a server of another user can enter it."""
    folder.chmod(0o755)
    return folder


if __name__ == "__main__":
    root = Path(sys.argv[1]).resolve()
    for number in MAJORS:
        make(root, number, "source.sql", FORMATS / f"postgresql{number}")
    make(root, MAJORS[-1], "source.sql", FORMATS / f"sealed{MAJORS[-1]}", seal_key=KEY)
    make(root, MAJORS[-1], "many.sql", FORMATS / f"slices{MAJORS[-1]}")
    make(root, MAJORS[-1], "objects.sql", FORMATS / f"objects{MAJORS[-1]}")
    make(root, MAJORS[0], "members.sql", FORMATS / f"members{MAJORS[0]}")
    make(root, MAJORS[0], "example.sql", HERE / "example")
