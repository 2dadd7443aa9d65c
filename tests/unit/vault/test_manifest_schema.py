"""The published schema is the one that this version reads by; a manifest comes back as it was written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.errors import FormatUnsupportedError, ManifestInvalidError
from coffre.vault.manifest import CAPABILITIES, MAX_BYTES, SEALED, Manifest, decode, encode, root_hash
from tests.fakes.store import MemoryStore
from tests.fakes.vault import put_backup

DOCS = Path(__file__).parents[3] / "docs"
BACKUP = "20261120T030000Z-daily-1f09ab"
KEY = f"shop/backups/{BACKUP}/manifest.json"
SCHEMA = json.loads((DOCS / "manifest.schema.json").read_text())


def manifest() -> Manifest:
    return put_backup(MemoryStore(), BACKUP, [b"1\n", b"2\n"])[0]


def content() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode(manifest()))
    return found


def as_bytes(changed: dict[str, Any]) -> bytes:
    return json.dumps(changed).encode()


def allows(candidate: object) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(candidate))


def test_the_published_schema_is_up_to_date() -> None:
    command = [sys.executable, str(DOCS / "manifest_schema.py")]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    hint = "run: python docs/manifest_schema.py > docs/manifest.schema.json"
    assert made == (DOCS / "manifest.schema.json").read_text(), hint


def test_the_schema_is_one_and_allows_a_manifest() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(content(), SCHEMA, cls=jsonschema.Draft202012Validator)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
counts = st.integers(0, (1 << 53) - 1)
changes = st.fixed_dictionaries(
    {},
    optional={
        "reason": text,
        "settings": st.dictionaries(text, text, max_size=4),
        "objects": st.dictionaries(text, counts, max_size=4),
        "needs": st.lists(text, max_size=3),
        "extensions": st.lists(
            st.fixed_dictionaries({"name": text, "version": text, "schema": text}), max_size=3
        ),
        "left_out": st.lists(st.fixed_dictionaries({"kind": text, "name": text, "reason": text}), max_size=3),
        "requires": st.lists(st.sampled_from(sorted(CAPABILITIES - {SEALED})), unique=True),
        "extra": st.dictionaries(text, st.recursive(st.none() | st.integers() | text, st.lists), max_size=3),
    },
)


@given(change=changes)
def test_a_manifest_comes_back_as_it_was_written(change: dict[str, Any]) -> None:
    changed = content() | change
    assert allows(changed)
    read = decode(as_bytes(changed), key=KEY)
    assert decode(encode(read), key=KEY) == read
    assert json.loads(encode(read)) == changed
    assert encode(decode(encode(read), key=KEY)) == encode(read)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": "1"},
        {"format": None},
        {"requires": ["postgresql", "teleportation"]},
    ],
)
def test_another_format_or_an_unknown_requirement_is_refused(change: dict[str, Any]) -> None:
    # A newer writer may have added fields too: the refusal says what is missing, not which field is odd.
    with pytest.raises(FormatUnsupportedError):
        decode(as_bytes(content() | change | {"new": "field"}), key=KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "latest"},
        {"id": BACKUP + "\n"},
        {"database": "Shop"},
        {"attempt": "../../../../x"},
        {"unknown": 1},
        {"totals": {}},
        {"requires": "postgresql"},
        {"parts": [{"key": "a"}]},
        {"objects": {"tables": -1}},
        {"objects": {"tables": 1 << 53}},
        {"settings": {"a": 1}},
    ],
)
def test_what_the_schema_forbids_is_refused(change: dict[str, Any]) -> None:
    changed = content() | change
    if change != {"id": BACKUP + "\n"}:  # Python's $ in the schema checker allows a newline, ours doesn't
        assert not allows(changed)
    with pytest.raises(ManifestInvalidError):
        decode(as_bytes(changed), key=KEY)


@pytest.mark.parametrize("field", sorted(set(json.loads(encode(manifest()))) - {"extra"}))
def test_every_field_but_extra_must_be_there(field: str) -> None:
    changed = content()
    del changed[field]
    assert not allows(changed)
    with pytest.raises((ManifestInvalidError, FormatUnsupportedError)):
        decode(as_bytes(changed), key=KEY)


def test_no_manifest_is_written_that_is_larger_than_one_may_be() -> None:
    large = manifest().model_copy(update={"reason": "r" * MAX_BYTES})
    with pytest.raises(ManifestInvalidError):
        encode(large)


def test_the_root_hash_is_that_of_the_exact_bytes() -> None:
    body = encode(manifest())
    assert body.endswith(b"}\n")
    assert root_hash(body) != root_hash(body.replace(b"\n", b"\r\n"))
