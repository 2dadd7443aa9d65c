"""Writes the golden archives of the format that this version writes.

Usage: ``python -m tests.golden.make POSTGRES`` with the folder of the PostgreSQL layer.  Archives of a
format are written once and then kept: every later version must restore them.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from coffre.databases.postgresql.server import EphemeralServer
from coffre.vault.layout import FORMAT
from tests.fakes.store import MemoryStore
from tests.golden.content import content
from tests.support.postgres import create
from tests.support.vault import Verbs, export

HERE = Path(__file__).parent
MAJORS = (16, 18)


def make(tools_root: Path, major: int, scratch: Path) -> Path:
    """One archive and what it must restore to; its folder."""
    folder = HERE / f"format{FORMAT}" / f"postgresql{major}"
    shutil.rmtree(folder, ignore_errors=True)
    with EphemeralServer.start(tools_root, major, scratch) as server:
        source = create(server, "shop", (HERE / "source.sql").read_text())
        store = MemoryStore()
        Verbs(store, tools_root, scratch).backup(source, kind="daily")
        export(store, folder / "vault")
        expected = json.dumps(content(source), ensure_ascii=False, indent=1)
        (folder / "content.json").write_text(expected + "\n")
    return folder


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        for number in MAJORS:
            print(make(Path(sys.argv[1]).resolve(), number, Path(name)))
