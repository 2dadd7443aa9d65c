"""Months, as reports count them: in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta


@dataclass(frozen=True)
class Month:
    """One month."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """The month ``2026-11``."""
        year, _, number = text.partition("-")
        return cls(int(year), int(number))

    @classmethod
    def before(cls, moment: datetime) -> Month:
        """The last month that was over at ``moment``."""
        last_day = moment.astimezone(UTC).replace(day=1) - timedelta(days=1)
        return cls(last_day.year, last_day.month)

    def __str__(self) -> str:
        """For example ``2026-11``."""
        return f"{self.year:04}-{self.number:02}"

    @property
    def previous(self) -> Month:
        """The month before this one."""
        return Month.before(self.begins)

    @property
    def begins(self) -> datetime:
        """Its first moment."""
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def ends(self) -> datetime:
        """The first moment after it."""
        return datetime(self.year + self.number // 12, self.number % 12 + 1, 1, tzinfo=UTC)

    @property
    def days(self) -> list[date]:
        """Its days."""
        first = self.begins.date()
        return [first + timedelta(days=n) for n in range((self.ends - self.begins).days)]
