"""What every answer is, and what stands in one: findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from coffre.readable import readable

Named = Annotated[str, AfterValidator(readable)]
"""Text with names of a database's objects in it, which may hold bytes that are no characters."""


class Result(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True)

    def answer(self) -> dict[str, Any]:
        """The answer as JSON values, for a handler to return."""
        return self.model_dump(mode="json")


class Finding(Result):
    """Something that a preflight, a proof or a plan found; ``count`` rows or objects, where that is known."""

    level: Literal["refuse", "warn", "info"]
    code: str
    object: Named
    message: Named
    advice: Named = ""
    count: int | None = None


LISTED = 100

SHOWN = 1500
"""An event holds 256 KB at most (Amazon EventBridge quotas)."""


def listed(findings: Sequence[Finding]) -> list[Finding]:
    """As many findings as an event can hold, with a last one that says how many more there are."""
    shown = [
        found if len(found.message) <= SHOWN else found.model_copy(update={"message": found.message[:SHOWN]})
        for found in findings[:LISTED]
    ]
    more = len(findings) - LISTED
    if more <= 0:
        return shown
    message = f"and {more} more findings"
    grave = any(found.level == "refuse" for found in findings[LISTED:])
    level: Literal["refuse", "info"] = "refuse" if grave else "info"
    return [*shown, Finding(level=level, code="more", object="", message=message, count=more)]
