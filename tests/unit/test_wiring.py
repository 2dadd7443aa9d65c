"""What the clients of AWS's services are made with."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.utils import parse_timestamp

from coffre.wiring import parse_time

MOMENT = datetime(2026, 11, 20, 3, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "told",
    [
        "2026-11-20T03:00:01.000Z",
        "2026-11-20T03:00:01Z",
        "Fri, 20 Nov 2026 03:00:01 GMT",
        MOMENT.timestamp(),
        str(MOMENT.timestamp()),
    ],
)
def test_times_in_answers_are_what_botocore_makes_of_them(told: str | float) -> None:
    assert parse_time(told) == parse_timestamp(told) == MOMENT
    assert parse_time(told).utcoffset() == MOMENT.utcoffset()
