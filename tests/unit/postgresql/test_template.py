"""A packed data directory comes out as it went in, or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import zstandard

from coffre.databases.postgresql.template import unpack

CONTENTS = {"PG_VERSION": b"18\n", "base/1/112": b"\0" * 8192, "base/4/112": b"\0" * 8192, "base/4/113": b""}


def packed(place: Path) -> Path:
    """A template with `CONTENTS`, where one content stands for two files."""
    names: dict[bytes, list[str]] = {}
    for name, content in CONTENTS.items():
        names.setdefault(content, []).append(name)
    files = [[len(content), named] for content, named in names.items()]
    index = {"folders": ["base", "base/1", "base/4"], "files": files}
    place.write_bytes(zstandard.compress(json.dumps(index).encode() + b"\n" + b"".join(names)))
    return place


def test_a_template_comes_out_as_it_went_in_and_is_nobody_elses(tmp_path: Path) -> None:
    data = tmp_path / "data"

    unpack(packed(tmp_path / "template.zst"), data, None)

    files = {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert files == CONTENTS
    assert {path.stat().st_mode & 0o777 for path in (data, *data.rglob("*")) if path.is_dir()} == {0o700}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_everything_belongs_to_whom_it_was_made_for(tmp_path: Path) -> None:
    unpack(packed(tmp_path / "template.zst"), tmp_path / "data", 65534)

    made = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(65534, 65534)}


def test_a_template_that_was_cut_off_is_named(tmp_path: Path) -> None:
    template = packed(tmp_path / "template.zst")
    content = zstandard.decompress(template.read_bytes())
    template.write_bytes(zstandard.compress(content[:-1]))

    with pytest.raises(OSError, match=r"ends too early.*template\.zst"):
        unpack(template, tmp_path / "data", None)
