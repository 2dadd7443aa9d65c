"""Everything is restored if it fits; else no more than disk and time allow."""

from __future__ import annotations

from dataclasses import replace

from coffre.prove.fit import BYTES_A_SECOND, EMPTY_TABLE, LEAST_FREE, SERVER_BYTES, fitting
from coffre.vault.contents import Contents
from coffre.vault.manifest import ArchiveFile, Manifest
from coffre.vault.parts import End, Relation
from coffre.vault.ticket import Ticket
from tests.fakes.store import MemoryStore
from tests.fakes.vault import DATABASE, put_backup

MB = 1 << 20
TAKEN = LEAST_FREE + SERVER_BYTES
"""Bytes that no row can take."""
ID = "20261120T030000Z-daily-abcdef"
TICKET = Ticket(DATABASE, ID, "0" * 64, "manifest")


def made(*sizes: int, large: int = 0) -> tuple[Manifest, Contents]:
    """A backup of tables of these sizes, and of so many bytes of large objects."""
    relations = {n: Relation(n, "table", "public", f"t{n}", "me") for n in range(len(sizes))}
    contents = Contents(relations=relations, ends={n: End(n, 1, size, "0") for n, size in enumerate(sizes)})
    manifest, _ = put_backup(MemoryStore(), ID, [b"row\n"])
    totals = manifest.totals.model_copy(
        update={"relations": len(sizes), "bytes": sum(sizes), "large_objects": int(bool(large))}
    )
    archive = ArchiveFile(key="k", size=large, sha256="0" * 64, role="large_objects")
    files = [*manifest.files, *([archive] if large else [])]
    return manifest.model_copy(update={"totals": totals, "files": files}), contents


def test_what_fits_is_restored_whole() -> None:
    manifest, contents = made(100 * MB, 50 * MB)
    enough = TAKEN + 2 * EMPTY_TABLE + 450 * MB
    found = fitting(manifest, contents, TICKET, free=enough, seconds=1)
    assert (found.contents, found.absent, found.sample) == (contents, None, None)
    found = fitting(manifest, contents, TICKET, free=enough - 1, seconds=900)
    assert found.sample is not None
    assert (found.sample.tables, found.sample.of_tables) == (1, 2)


def test_a_sample_is_no_larger_than_disk_and_time_allow() -> None:
    manifest, contents = made(*[MB] * 1000)
    by_disk = fitting(manifest, contents, TICKET, free=TAKEN + 700 * MB, seconds=900).sample
    by_time = fitting(manifest, contents, TICKET, free=TAKEN + 700 * MB, seconds=10).sample
    assert by_disk is not None
    assert by_time is not None
    assert 200 <= by_disk.tables <= 233, "three bytes for one, and something for each table"
    assert by_time.bytes == 10 * BYTES_A_SECOND
    assert by_disk.summary == f"sampled {by_disk.tables} of 1000 tables, {by_disk.tables / 10:g} %"
    nothing = fitting(manifest, contents, TICKET, free=0, seconds=900).sample
    assert nothing is not None
    assert nothing.summary == "sampled 0 of 1000 tables, 0 %"


def test_the_share_is_never_rounded_up() -> None:
    manifest, contents = made(999 * MB, 1)
    sample = fitting(
        manifest, contents, replace(TICKET, critical=("t1",)), free=TAKEN + MB, seconds=900
    ).sample
    assert sample is not None
    assert sample.summary == "sampled 1 of 2 tables, 0 %"
    almost = sample.model_copy(update={"bytes": sample.of_bytes - 1})
    assert almost.summary == "sampled 1 of 2 tables, 99.9 %"


def test_large_objects_that_dont_fit_are_left_out_and_told() -> None:
    manifest, contents = made(MB, MB, large=500 * MB)
    found = fitting(manifest, contents, TICKET, free=1000 * MB, seconds=900)
    assert found.sample is not None
    assert (found.sample.tables, found.sample.large_objects) == (2, 1)
    assert found.absent is not None
    assert found.absent.among([("pg_catalog", "pg_largeobject")]) == ("the large objects",)
    assert fitting(manifest, contents, TICKET, free=2300 * MB, seconds=900).sample is None
