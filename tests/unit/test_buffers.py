"""A buffer holds what was written and not dropped, however much that is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coffre.buffers import TextBuffer


@given(steps=st.lists(st.tuples(st.binary(max_size=9000), st.integers(0, 9000)), max_size=30))
def test_a_buffer_is_a_queue_of_bytes_also_beyond_what_it_reserved(steps: list[tuple[bytes, int]]) -> None:
    buffer, held = TextBuffer(reserved=4096), b""
    for text, dropped in steps:
        buffer.append(text)
        room = buffer.room(3)
        room[:3] = b"..."
        buffer.add(2)
        held += text + b".."
        size = min(dropped, len(held))
        buffer.drop(size)
        held = held[size:]
        assert (bytes(buffer.view()), buffer.size) == (held, len(held))
        assert bytes(buffer.view(1, 3)) == held[1:3] or len(held) < 3
