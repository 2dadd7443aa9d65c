"""Pieces of large objects are found in blocks of any size, and nothing else is taken for one."""

from __future__ import annotations

import struct

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.statements import PLACE_BITS, large_objects_to
from coffre.errors import ObjectCorruptError
from coffre.vault.digest import MODULUS, Digest
from coffre.vault.rows import digest_records

pieces = st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 24) - 1), st.binary(max_size=20))


def written(number: int, piece: int, data: bytes) -> bytes:
    return struct.pack(">hiIiqi", 3, 4, number, 8, piece, len(data)) + data


@given(rows=st.lists(pieces, max_size=9), size=st.integers(1, 60))
def test_blocks_of_any_size_have_the_same_digest(rows: list[tuple[int, int, bytes]], size: int) -> None:
    records = [written(*row) for row in rows]
    text = b"".join(records)
    digest = Digest()
    blocks = (bytearray(text[start : start + size]) for start in range(0, len(text), size))
    assert digest_records(blocks, digest) == len(text)
    assert digest.rows == len(rows)
    assert digest.value == sum(map(xxhash.xxh3_128_intdigest, records)) % MODULUS


@given(rows=st.lists(pieces, min_size=1, max_size=5), data=st.data())
def test_records_that_were_changed_or_cut_are_told(
    rows: list[tuple[int, int, bytes]], data: st.DataObject
) -> None:
    text, right, found = bytearray(b"".join(written(*row) for row in rows)), Digest(), Digest()
    digest_records([bytes(text)], right)
    place = data.draw(st.integers(0, len(text) - 1))
    if data.draw(st.booleans()):
        text[place] ^= data.draw(st.integers(1, 255))
    else:
        del text[place:]
    try:
        digest_records([bytes(text)], found)
    except ObjectCorruptError:
        return
    assert (found.rows, found.value) != (right.rows, right.value)


@pytest.mark.parametrize("text", [b"\n", b"7\t0\t\\\\x00\n" * 9, written(1, 2, b"x")[:-1], bytes(40)])
def test_what_is_no_record_is_refused(text: bytes) -> None:
    with pytest.raises(ObjectCorruptError):
        digest_records([text], Digest())


def test_a_range_reads_whole_objects_but_for_its_ends() -> None:
    statement = large_objects_to((5 << PLACE_BITS | 2, 9 << PLACE_BITS | 3))
    assert "oid >= '5'::oid AND oid <= '9'::oid" in statement
    assert "WHEN '5'::oid THEN 2" in statement
    assert "WHEN '9'::oid THEN 2" in statement
