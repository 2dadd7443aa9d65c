"""Records are lines of JSON that mean the same to every reader, whatever a name holds."""

from __future__ import annotations

import io
import json

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from coffre.errors import ManifestInvalidError
from coffre.vault.parts import (
    Chunk,
    Column,
    DatabaseRecord,
    End,
    PartWriter,
    Record,
    Relation,
    Role,
    decode_record,
    encode_record,
    read_records,
)

HOSTILE = ['"', "'", "a\nb", "..", "/", "🐘", "x" * 63, "\\", "t", "_b64", "\u2028", "", "A", "a", "%41", "é"]
names = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    # As Python reads bytes that aren't UTF-8, from an SQL_ASCII database for example.
    st.binary(max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
)
maybe = st.none() | names
many = st.lists(names, max_size=3).map(tuple)
counts = st.integers(0, (1 << 53) - 1)
plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
hex64 = st.binary(min_size=32, max_size=32).map(bytes.hex)


def slice_of(at: int, end: int, whole: int) -> Chunk:
    return Chunk("00" * 32, "k", "zstd", 1, end - at, 3, "11" * 32, at=at, whole=whole)


columns = st.lists(st.builds(Column, names, names), max_size=4).map(tuple)
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        Relation,
        id=counts,
        kind=st.sampled_from(["table", "leaf", "sequence", "extension_config"]),
        schema=names,
        name=names,
        owner=names,
        columns=columns,
        load=st.sampled_from(["self", "root"]),
        root_schema=maybe,
        root_name=maybe,
        condition=maybe,
        last_value=st.none() | st.integers(-(1 << 63), (1 << 63) - 1).map(str),
        is_called=st.none() | st.booleans(),
        piece=st.integers(0, 9),
        pieces=st.integers(1, 9),
    ),
    st.builds(
        Chunk,
        id=hex64,
        key=plain,
        encoding=st.just("zstd"),
        rows=counts,
        bytes=counts,
        stored=counts,
        sha256=hex64,
    ),
    st.tuples(counts, counts, counts).map(sorted).map(lambda at: slice_of(*at)),
    st.builds(End, counts, counts, counts, st.binary(min_size=16, max_size=16).map(bytes.hex)),
)
catalog = st.one_of(
    st.builds(Role, names, many, many, many, st.booleans()),
    st.builds(DatabaseRecord, names, maybe, many, st.lists(st.tuples(names, names), max_size=3).map(tuple)),
)


@given(record=st.one_of(records, catalog))
def test_a_record_is_one_line_of_utf8_json_and_comes_back(record: Record) -> None:
    line = encode_record(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    json.loads(line.decode("utf-8"))
    assert decode_record(line) == record


@pytest.mark.parametrize(("at", "size", "whole"), [(-1, 5, 9), (5, 5, 9), (1, 2, 0), (0, -1, 9), (9, 1, 9)])
def test_a_slice_outside_of_its_chunk_is_refused(at: int, size: int, whole: int) -> None:
    line = (
        encode_record(slice_of(0, 2, 9))
        .replace(b'"bytes":2,', b'"bytes":%d,"at":%d,' % (size, at))
        .replace(b'"whole":9', b'"whole":%d' % whole)
    )
    with pytest.raises(ManifestInvalidError, match="line 1 of part p is not a record"):
        list(read_records([line], key="p"))


def test_a_name_that_is_not_utf8_has_a_base64_twin() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    line = json.loads(encode_record(Relation(1, "table", "public", name, "owner", (Column(name, "text"),))))
    assert (line["name"], line["name_b64"]) == ("caf\ufffd", "Y2Fm6Q==")
    assert line["columns"] == [{"name": "caf\ufffd", "name_b64": "Y2Fm6Q==", "type": "text"}]


def test_fields_at_their_default_are_left_out() -> None:
    assert json.loads(encode_record(Relation(7, "table", "public", "t", "me"))) == {
        "t": "relation",
        "id": 7,
        "kind": "table",
        "schema": "public",
        "name": "t",
        "owner": "me",
    }


@given(written=st.lists(records, max_size=12))
def test_a_part_is_one_zstd_frame_that_its_counts_describe(written: list[Record]) -> None:
    out = io.BytesIO()
    writer = PartWriter(out)
    for record in written:
        writer.write(record)
    writer.close()
    text = zstandard.ZstdDecompressor().stream_reader(out.getvalue()).read()
    assert list(read_records(io.BytesIO(text), key="part")) == written
    assert writer.bytes == len(text)
    assert writer.relations == sum(isinstance(record, Relation) for record in written)
    assert writer.chunks == sum(isinstance(record, Chunk) for record in written)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"not json",
        b'{"t":"virus"}',
        b'{"t":"end","relation":1}',
        b'{"t":"relation","id":1,"kind":"table","schema":"s","name":"n","owner":"o","surprise":1}',
        b'{"t":"relation","id":1,"kind":"table","schema":"s","name":"n","owner":"o","columns":[1]}',
        b'{"t":"end","relation":1,"rows":1,"bytes":1,"digest_b64":"!"}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_record_is_named(line: bytes) -> None:
    good = encode_record(End(1, 2, 3, "00"))
    with pytest.raises(ManifestInvalidError, match="line 2 of part the-key"):
        list(read_records([good, line], key="the-key"))
