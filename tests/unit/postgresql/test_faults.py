"""The server's errors become Coffre's by what the server states, never by the words of a message."""

from __future__ import annotations

import pytest

from coffre.databases.postgresql.faults import server_error
from coffre.errors import CoffreError, QueryFailedError, ServerMemoryError, ValueTooLargeError


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"C": "54000"}, ValueTooLargeError),
        ({"C": "XX000", "F": "mcxt.c"}, ValueTooLargeError),
        ({"C": "XX000", "F": "heapam.c"}, QueryFailedError),
        ({"C": "53200", "F": "mcxt.c"}, ServerMemoryError),
    ],
)
def test_what_exceeds_a_gigabyte_is_told_from_other_errors(
    fields: dict[str, str], error: type[CoffreError]
) -> None:
    found = server_error({"M": "in any language", **fields}, "the shop")
    assert type(found) is error
    assert "in any language" in found.message
