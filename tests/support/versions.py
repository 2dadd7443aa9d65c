"""What another version of Coffre would have left."""

from __future__ import annotations

from coffre.catalogue.ledger import Ledger

OTHERS = {"one that left no mark": None, "a later one": 999}
"""Versions of what functions leave for each other, by a name for tests."""


def begun_by_another(ledger: Ledger, version: int | None) -> None:
    """Let a run have been begun by another version: its batches can't be read."""
    assert ledger._set({"version": version}, "attribute_exists(#state)", {})
    for record in ledger.batches():
        ledger._table.update(ledger._database, ledger._batch(record.name), {"part": "in another form"})
