"""Sealed objects: they open to what was sealed, and to nothing after any change; names tell nothing."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.errors import ObjectCorruptError
from coffre.vault import sealing
from coffre.vault.chunks import SPOOL_BYTES, PlainChunk
from coffre.vault.locate import is_sound_chunk
from coffre.vault.manifest import SealContext, SealKey
from coffre.vault.sealing import (
    CHECKSUM,
    FRAME,
    HEADER,
    TAG,
    UNSEALED,
    Sealed,
    handed_over,
    is_whole,
    seal_body,
)
from tests.fakes.kms import KEY
from tests.fakes.store import MemoryStore

PLACE = "shop/chunks/ab/abcd"


def seal(number: int = 1, secret: bytes = b"k" * 32) -> Sealed:
    context = SealContext(
        vault="vault", database="shop", seal=f"{number:032x}", created="2026-11-20T03:00:00.000000Z"
    )
    return Sealed(SealKey(kms_key=KEY, context=context, wrapped="AAAA"), secret)


def sealed(text: bytes, place: str = PLACE, by: Sealed | None = None) -> bytes:
    return b"".join((by or seal()).sealed([text], place))


def opened(body: bytes, place: str = PLACE, by: Sealed | None = None) -> bytes:
    return (by or seal()).opened(io.BytesIO(body), place).read()


def whole(body: bytes, place: str = PLACE) -> bool:
    return is_whole(body[:8], io.BytesIO(body[8:]), place)


@pytest.fixture
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of 16 bytes, so that short texts have many."""
    monkeypatch.setattr(sealing, "FRAME", 16)


@given(st.lists(st.binary(max_size=70), max_size=8))
@settings(max_examples=200)
def test_what_was_sealed_comes_out_however_it_was_cut(blocks: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "FRAME", 16)
        body = b"".join(seal().sealed(blocks, PLACE))
        assert opened(body) == b"".join(blocks)
        assert whole(body)


@pytest.mark.parametrize("size", [0, 1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 2 * FRAME + 7])
def test_texts_around_the_size_of_a_frame_come_out(size: int) -> None:
    text = bytes(range(256)) * (size // 256 + 1)
    text = text[:size]
    body = sealed(text)
    frames = max(1, -(-size // FRAME))
    assert len(body) == HEADER + size + frames * TAG + CHECKSUM
    assert opened(body) == text
    assert whole(body)


@pytest.mark.usefixtures("small_frames")
def test_any_flipped_bit_is_refused() -> None:
    body = sealed(b"forty bytes of text in a few small frames")
    for position in range(len(body) * 8):
        wrong = bytearray(body)
        wrong[position // 8] ^= 1 << position % 8
        with pytest.raises(ObjectCorruptError):
            opened(bytes(wrong))
        assert position // 8 < 8 or not whole(bytes(wrong))


@pytest.mark.usefixtures("small_frames")
def test_an_object_that_is_cut_or_has_a_tail_is_refused() -> None:
    body = sealed(b"forty bytes of text in a few small frames")
    for wrong in [body[:size] for size in range(len(body))] + [body + b"\0", body + body]:
        with pytest.raises(ObjectCorruptError):
            opened(wrong)
        assert not whole(wrong)


@pytest.mark.usefixtures("small_frames")
def test_whole_frames_that_are_taken_out_or_put_in_another_order_are_refused() -> None:
    body = sealed(b"a" * 16 + b"b" * 16 + b"c" * 16 + b"d")
    header, rest = body[:HEADER], body[HEADER:-CHECKSUM]
    frames = [rest[start : start + 16 + TAG] for start in range(0, len(rest), 16 + TAG)]
    first, second, third, last = frames
    for order in ([second, first, third, last], [first, third, last], [first, second, third], [first] * 4):
        content = header + b"".join(order)
        # Whoever changes an object can compute its checksum, too.
        checksum = hashlib.sha256(b"coffre-seal-1\0" + PLACE.encode() + b"\0" + content).digest()
        assert whole(content + checksum)
        with pytest.raises(ObjectCorruptError):
            opened(content + checksum)


def test_an_object_under_anothers_name_is_refused() -> None:
    body = sealed(b"text")
    with pytest.raises(ObjectCorruptError, match="another place"):
        opened(body, "shop/chunks/ab/abce")
    assert not whole(body, "shop/chunks/ab/abce")


def test_another_key_opens_nothing() -> None:
    body = sealed(b"text")
    with pytest.raises(ObjectCorruptError, match="belongs to the seal"):
        opened(body, by=seal(2))
    with pytest.raises(ObjectCorruptError, match="another key"):
        opened(body, by=seal(1, b"x" * 32))


def test_what_isnt_sealed_is_refused_where_a_seal_is_expected() -> None:
    for body in (b"", b"COFFRES", b"(\xb5/\xfd plain zstd"):
        with pytest.raises(ObjectCorruptError, match="isn't sealed"):
            opened(body)


def test_a_name_is_bound_but_for_the_hash_of_the_object_itself() -> None:
    place = "shop/backups/b/a/parts/1-{sha256}.ndjson.zst"
    body = sealed(b"text", place)
    assert opened(body, place.replace("{sha256}", hashlib.sha256(body).hexdigest())) == b"text"
    with pytest.raises(ObjectCorruptError):
        opened(body, place.replace("1-{sha256}", f"2-{'0' * 64}"))


def test_the_same_text_is_never_sealed_to_the_same_bytes() -> None:
    bodies = {sealed(b"text") for _ in range(20)}
    assert len({body[24:56] for body in bodies}) == 20, (
        "each object has a salt of its own, so a key of its own"
    )
    assert not any(b"text" in body for body in bodies)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_names_are_a_function_of_content_and_key_and_of_nothing_else(one: bytes, other: bytes) -> None:
    first, second = (hashlib.sha256(text).hexdigest() for text in (one, other))
    mine, again, foreign = seal(), seal(2), seal(1, b"x" * 32)
    assert mine.chunk_id(first) == again.chunk_id(first), "the same key gives the same names"
    assert (mine.chunk_id(first) == mine.chunk_id(second)) == (one == other)
    assert mine.chunk_id(first) not in (first, foreign.chunk_id(first)), "who lacks the key can't tell them"
    assert UNSEALED.chunk_id(first) == first


def test_a_seal_survives_a_hand_over_and_shows_no_secret() -> None:
    mine = seal()
    assert handed_over(mine.hand_over()) == mine
    assert handed_over(UNSEALED.hand_over()) is UNSEALED
    assert "kkkk" not in repr(mine)


@pytest.mark.parametrize("size", [100, 40 << 20])
def test_a_chunk_is_sealed_in_memory_or_in_a_file(tmp_path: Path, size: int) -> None:
    text = b"r" * (size - 1) + b"\n"
    (tmp_path / "text").write_bytes(text)
    with (tmp_path / "text").open("rb") as file:
        plain = PlainChunk(file if size > SPOOL_BYTES else memoryview(text), size, 1, tmp_path)
        check_sealing_of(plain, tmp_path)


def check_sealing_of(plain: PlainChunk, tmp_path: Path) -> None:
    body, length, sha256 = seal_body(seal(), *plain.compressed(), key=PLACE, scratch=tmp_path)
    content = body.read()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (length, sha256)
    assert opened(content) == plain.compressed()[0].read()
    body, length, sha256 = seal_body(UNSEALED, *plain.compressed(), key=PLACE, scratch=tmp_path)
    assert body.read() == plain.compressed()[0].read()


def test_rotation_and_recheck_tell_a_sound_chunk_without_its_key() -> None:
    store = MemoryStore()
    store.put(PLACE, sealed(b"text"))
    assert is_sound_chunk(store, PLACE)
    store.put("shop/chunks/ab/other", sealed(b"text"))
    assert not is_sound_chunk(store, "shop/chunks/ab/other")
    store.tamper(PLACE, lambda body: body[:-40] + bytes([body[-40] ^ 1]) + body[-39:])
    assert not is_sound_chunk(store, PLACE)


def test_the_program_in_the_documentation_opens_what_was_sealed() -> None:
    page = (Path(__file__).parents[3] / "docs" / "format.md").read_text()
    program, found, _ = page.partition("```python unseal\n")[2].partition("def unpacked")
    names: dict[str, Any] = {"data_key": b"k" * 32}
    exec(program, names)  # noqa: S102 - our own
    assert found
    for size in (0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, 3 * FRAME + 5):
        for key in (PLACE, f"a/1-{'0' * 64}.ndjson.zst"):
            assert names["unseal"](sealed(b"x" * size, key), key) == b"x" * size
    with pytest.raises(SystemExit, match="another place"):
        names["unseal"](sealed(b"text"), "shop/chunks/ab/other")
