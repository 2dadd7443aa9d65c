"""One restore, in one function or on the state machine, and what was told of it."""

from __future__ import annotations

from typing import Any

from coffre.catalogue.index import Catalogue
from coffre.databases.postgresql.target import Target
from tests.integration.scale.steps import Hand
from tests.support.vault import Verbs

WAYS = [False, True]
"""Of restoring: whether on the state machine."""


def restored(
    verbs: Verbs, catalogue: Catalogue, where: Target, *, machine: bool, **more: Any
) -> list[dict[str, Any]]:
    """Restore the newest backup; the findings and the exceptions."""
    if machine:
        hand = Hand(verbs, catalogue, where)
        hand.working_seconds = 60.0
        hand.confirm(**more)
        answer = hand.go()
    else:
        answer = verbs.restore(where, **more).answer()
    return [*answer["findings"], *answer["exceptions"]]
