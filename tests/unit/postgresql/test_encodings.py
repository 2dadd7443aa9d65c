"""No bytes of a session are refused or lost, whatever the encoding, and names reach parts and messages."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.encodings import can_say, codec_of, recoded, sayable
from coffre.errors import CoffreError, QueryFailedError
from coffre.readable import readable
from coffre.results import Finding
from coffre.vault.parts import Role, decode_record, encode_record
from tests.support.encodings import ENCODINGS

encodings = st.sampled_from(ENCODINGS)
# High bytes mostly: a character set's holes, and what is UTF-8 of another one's letters.
raw = st.lists(
    st.one_of(
        st.integers(0x80, 0xFF).map(lambda byte: bytes([byte])),
        st.integers(1, 0xFF).map(lambda byte: bytes([byte])),
        st.sampled_from(["é", "å", "ء", "あ", "か\u309a", "\uf7e9", "🐘"]).map(str.encode),
    ),
    max_size=9,
).map(b"".join)


@given(encoding=encodings, name=raw)
def test_any_bytes_come_back(encoding: str, name: bytes) -> None:
    assert name.decode(codec_of(encoding)).encode(codec_of(encoding)) == name


@given(encoding=encodings, name=raw)
def test_any_bytes_come_back_from_a_part(encoding: str, name: bytes) -> None:
    text = name.decode(codec_of(encoding))
    role = Role(text, (), member_of=("plain", text), options=(("plain", "SET FALSE"), (text, "ADMIN OPTION")))
    found = decode_record(encode_record(role))
    assert found == role
    assert isinstance(found, Role)
    assert found.name.encode(codec_of(encoding)) == name


@given(encoding=encodings, other=encodings, name=raw)
def test_a_name_of_one_encoding_is_found_again_in_another(encoding: str, other: str, name: bytes) -> None:
    here, there = name.decode(codec_of(encoding)), name.decode(codec_of(other))
    assert recoded(here, encoding, other) == there


@given(encoding=encodings, name=raw)
def test_what_no_statement_may_hold_is_written_out(encoding: str, name: bytes) -> None:
    text = name.decode(codec_of(encoding))
    shown = sayable(text, encoding)
    assert can_say(shown, encoding)
    assert (shown == text) == can_say(text, encoding)


@pytest.mark.parametrize(
    ("encoding", "name", "text"),
    [
        ("UTF8", b"caf\xc3\xa9", "café"),
        ("UTF8", b"caf\xe9", "caf\udce9"),
        ("SQL_ASCII", b"caf\xc3\xa9\xff", "café\udcff"),
        ("LATIN1", b"caf\xe9", "café"),
        ("LATIN10", b"\xaa", "Ș"),
        ("KOI8R", b"\xc1", "а"),
        ("KOI8U", b"\xa4", "є"),
        ("WIN866", b"\x80", "А"),
        ("ISO_8859_7", b"\xe1", "α"),
        ("ISO_8859_8", b"\xe0", "א"),
        ("EUC_JP", b"\xb4\xc1", "漢"),
        ("EUC_CN", b"\xba\xba", "汉"),
        ("LATIN3", b"\xc3\xa5", "\uf7c3\uf7a5"),
        ("WIN1252", b"x\x81", "x\uf781"),
        ("EUC_TW", b"\xa4\xa4", "\udca4\udca4"),
    ],
)
def test_text_is_read_as_the_characters_that_it_is(encoding: str, name: bytes, text: str) -> None:
    assert name.decode(codec_of(encoding)) == text


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_KR", "SQL_ASCII", "UTF8"])
def test_a_character_that_an_encoding_lacks_is_named(encoding: str) -> None:
    lacking = "🐘" if encoding in {"LATIN1", "EUC_KR"} else "\ud800"
    with pytest.raises(QueryFailedError, match=encoding) as caught:
        f"name {lacking}".encode(codec_of(encoding))
    assert caught.value.sqlstate == "22P05"


def test_messages_and_findings_write_out_what_is_no_character() -> None:
    name = b"caf\xe9 \xc3\xa9".decode(codec_of("UTF8"))
    assert readable(name) == r"caf\xe9 é"
    assert CoffreError(name, name).message == CoffreError(name, name).hint == readable(name)
    found = Finding(level="warn", code="c", object=name, message=name, advice=name)
    assert json.loads(found.model_dump_json())["object"] == readable(name)
