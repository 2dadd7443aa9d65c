"""Digests depend on the rows and on nothing else: not on their order, not on how they were handed over."""

from __future__ import annotations

from itertools import pairwise

import pytest
import xxhash
from hypothesis import example, given
from hypothesis import strategies as st

from coffre.errors import ObjectCorruptError
from coffre.vault.digest import MODULUS, Digest, row_hashes, sum_hashes
from coffre.vault.rows import DigestSink, digest_text

pytestmark = pytest.mark.usefixtures("twin")

row_bytes = st.binary(max_size=20).map(lambda row: row.replace(b"\n", b"n"))
row_lists = st.lists(row_bytes, max_size=40)


def naive(rows: list[bytes]) -> int:
    return sum(xxhash.xxh3_128_intdigest(row) for row in rows) % MODULUS


def give(sink: DigestSink, rows: list[bytes]) -> None:
    text = b"".join(row + b"\n" for row in rows)
    sink.room(len(text))[: len(text)] = text
    sink.take(len(text))


def digest_of(rows: list[bytes]) -> Digest:
    digest = Digest()
    digest.add_rows(rows)
    return digest


@given(numbers=st.lists(st.integers(0, MODULUS - 1), max_size=70))
@example(numbers=[MODULUS - 1] * 33)
def test_the_sum_is_that_of_the_numbers(numbers: list[int]) -> None:
    assert sum_hashes([number.to_bytes(16, "big") for number in numbers]) == sum(numbers) % MODULUS


@pytest.mark.parametrize("count", [(1 << 14) - 1, 1 << 14, (1 << 14) + 1, 3 << 14])
def test_the_sum_is_right_around_the_size_of_a_batch_whatever_carries(count: int) -> None:
    largest = MODULUS - 1
    assert sum_hashes([largest.to_bytes(16, "big")] * count) == largest * count % MODULUS


@given(rows=row_lists)
def test_a_digest_is_the_sum_over_its_rows(rows: list[bytes]) -> None:
    digest = digest_of(rows)
    assert (digest.rows, digest.value) == (len(rows), naive(rows))
    assert digest.hex() == f"{naive(rows):032x}"
    assert sum_hashes(row_hashes(rows)) == naive(rows)


@given(rows=row_lists, data=st.data())
def test_the_order_of_rows_does_not_matter(rows: list[bytes], data: st.DataObject) -> None:
    other = data.draw(st.permutations(rows))
    assert digest_of(rows).hex() == digest_of(other).hex()


@given(one=row_lists, two=row_lists)
def test_digests_of_pieces_add_up(one: list[bytes], two: list[bytes]) -> None:
    digest, other = digest_of(one), digest_of(two)
    digest.add(other.rows, other.value)
    assert (digest.rows, digest.hex()) == (len(one + two), digest_of(one + two).hex())


@given(rows=st.lists(row_bytes, min_size=1), extra=row_bytes)
def test_a_row_more_or_less_or_doubled_shows(rows: list[bytes], extra: bytes) -> None:
    whole = digest_of(rows)
    assert digest_of(rows[1:]).hex() != whole.hex()
    assert digest_of([*rows, extra]).hex() != whole.hex()
    assert digest_of([*rows, rows[0]]).hex() != whole.hex()


@given(rows=row_lists, cuts=st.lists(st.integers(0, 900), max_size=12))
def test_a_text_split_anywhere_has_the_digest_of_its_rows(rows: list[bytes], cuts: list[int]) -> None:
    text = b"".join(row + b"\n" for row in rows)
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    digest = Digest()
    blocks = [text[one:two] for one, two in pairwise(edges)]
    assert digest_text(blocks, digest) == len(text)
    assert (digest.rows, digest.hex()) == (len(rows), digest_of(rows).hex())


@pytest.mark.parametrize("blocks", [[b"row"], [b"one\n", b"two"], [b"one\ntw", b"o"]])
def test_a_text_that_ends_within_a_row_is_corrupt(blocks: list[bytes]) -> None:
    with pytest.raises(ObjectCorruptError):
        digest_text(blocks, Digest())


@given(rows=row_lists, cut=st.integers(0, 20))
def test_a_sink_gives_large_rows_the_same_digest(rows: list[bytes], cut: int) -> None:
    plain, pieces = DigestSink(), DigestSink()
    if rows:
        give(plain, rows)
    for row in rows:
        pieces.large_row(iter([row[:cut], row[cut:]]))
    assert (plain.digest.rows, plain.digest.hex(), plain.bytes) == (
        pieces.digest.rows,
        pieces.digest.hex(),
        pieces.bytes,
    )
