"""What functions on a state machine leave for each other is as it was, or of another version.

A deployment changes the functions of a backup or a restore that goes on.  So where this test fails, ask
whether functions from before the change, or from after it, would read wrongly what the others left.  If so,
count `VERSION` up, in `coffre.backup.job` or `coffre.restore.machine`.  Then write the golden file anew:
``python -m tests.contract.test_versions``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import zstandard
from pydantic import BaseModel

from coffre.backup import job as backup
from coffre.backup.batch import BatchRecord
from coffre.backup.paperwork import write_batches, write_draft
from coffre.backup.plan import Batch, WorkItem
from coffre.catalogue.ledger import Ledger
from coffre.catalogue.table import Table
from coffre.databases.postgresql import notes
from coffre.databases.postgresql.archive import ArchiveEntry
from coffre.events.backup import CaptureRequest, HolderRequest, StepRequest
from coffre.events.restore_machine import LoadRequest, RestoreStepRequest
from coffre.restore import machine as restore
from coffre.restore.pieces import Stored, plan_digests, plan_rows, runs
from coffre.restore.waves import plan_waves
from coffre.results import CaptureResult, LoadResult, RestoreStep, StepResult
from coffre.vault.layout import Layout
from coffre.vault.manifest import Manifest, PartFile
from coffre.vault.parts import Chunk, Column, End, Relation
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.store import MemoryStore

GOLDEN = Path(__file__).parents[1] / "golden" / "machines.json"
NOW = datetime(2026, 11, 20, 3, tzinfo=UTC)
TABLE = Relation(7, "table", "public", "t", "me", (Column("n", "integer"),), pieces=2)
PART = PartFile(key="key", size=1, sha256="0" * 64, bytes=1, relations=1, chunks=1)


def left() -> dict[str, Any]:
    """All of it, as plain values."""
    return {
        "backup": {
            "version": backup.VERSION,
            "papers": papers(),
            "ledger": records(),
            **told(StepRequest, StepResult, HolderRequest, CaptureRequest, CaptureResult),
        },
        "restore": {
            "version": restore.VERSION,
            "notes": notes._TABLES.split("\n"),
            **items(),
            **told(RestoreStepRequest, RestoreStep, LoadRequest, LoadResult),
        },
    }


def papers() -> dict[str, Any]:
    """Of a backup in the vault, by their keys below those of the attempt."""
    store = MemoryStore()
    job = cast("backup.Job", _Job)
    batch = Batch(1, (WorkItem(TABLE, 100, (0, 5), 9, 3),))
    write_batches(job, store, "plan", [batch])
    write_draft(job, store, "plan", Manifest.model_construct(), PART, [batch])
    return {key.removeprefix(_Job.prefix): _unpacked(store, key) for key in sorted(store.keys())}


class _Job:
    prefix = Layout("shop").attempt("20261120T030000Z-daily-1f09ab", "0123456789ab")


def _unpacked(store: MemoryStore, key: str) -> Any:
    body = store.read(key, limit=1 << 20)
    return json.loads(zstandard.decompress(body) if key.endswith(".zst") else body)


def records() -> list[dict[str, Any]]:
    """Of the ledger: one of the run, and one of a batch."""
    client = MemoryDynamo()
    ledger = Ledger(Table(client, "table"), "shop", "0123456789ab", lambda: NOW)
    ledger.open("backup", NOW + timedelta(hours=1), version=1, pause=2, given="{}", seal="{}")
    ledger.publish(1, "snapshot")
    ledger.planned("plan", batches=1, total=100)
    ledger.tell("code", "message")
    ledger.finish(BatchRecord("000001", PART.model_dump_json(), 1, 2, 3, "ff", 4, 5, size=6, milliseconds=7))
    return [{name: value for name, value in item.items() if name != "call"} for item in client.items.values()]


def items() -> dict[str, Any]:
    """Of a restore, and by what their numbers count."""
    chunks = [
        Chunk(str(number), "key", "zstd", 1, size << 20, 1, "") for number, size in enumerate((40, 30, 5))
    ]
    part = [TABLE, *chunks, End(7, 3, 75 << 20, "0")]
    found = [(run.number, [chunk.id for chunk in run.chunks]) for run in runs(part)]
    entries = [ArchiveEntry(number, kind, "") for number, kind in enumerate(KINDS)]
    waves = [[wave.number, [one.dump_id for one in wave.entries]] for wave in plan_waves(entries, {8: [5]})]
    rows = [item.short() for item in plan_rows([[1 << 30, 1 << 28], [5]], 6 << 30)]
    digests = [item.short() for item in plan_digests({1: Stored(1 << 31, 1 << 18), 2: Stored(5, 1)})]
    return {"runs": found, "rows": rows, "digests": digests, "waves": waves}


KINDS = (
    "CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "FK CONSTRAINT",
    "ACL",
    "MATERIALIZED VIEW",
    "TRIGGER",
    "MATERIALIZED VIEW DATA",
    "INDEX",
)


def told(*models: type[BaseModel]) -> dict[str, list[str]]:
    """The fields of messages between a state machine and its functions."""
    return {model.__name__: sorted(_fields(model.model_json_schema())) for model in models}


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    for kind in (schema, *schema.get("$defs", {}).values()):
        needed = kind.get("required", [])
        for name in kind.get("properties", {}):
            yield f"{kind['title']}.{name}{'' if name in needed else '?'}"


def test_what_functions_leave_for_each_other_is_what_the_golden_file_says() -> None:
    assert json.loads(json.dumps(left())) == json.loads(GOLDEN.read_text()), __doc__


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(left(), indent=1) + "\n")
