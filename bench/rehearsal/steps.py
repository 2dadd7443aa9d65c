"""The rehearsed steps, each in a fresh process: ``python -m bench.rehearsal.steps STEP``.

The order is JSON on standard input.  The answer on standard output holds the step's seconds by the clock and
on the processor, the highest resident memory of the process in bytes, and its requests to DynamoDB.  What a
step calls is the product's own; no rows are read from a server or read back, and nobody proves anything.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.product import REGISTERED, SILENT
from bench.rehearsal import catalog
from bench.rehearsal.catalog import DATABASE
from bench.rehearsal.run import SECONDS, Rehearsal, backup_job
from coffre import wiring
from coffre.ids import utc_now
from coffre.vault.layout import Layout
from coffre.workers import WORKERS, Message

DELETED = 50
"""One in so many backups is deleted by the rotation."""


class Counted:
    """Stands in for the workers: answers from the chunks' records, without reading a chunk."""

    def __init__(self, setup: Sequence[Message], tick: Callable[[], None]) -> None:
        self._setup = setup
        self._tick = tick

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def map(self, items: Iterable[Message]) -> Iterator[tuple[Message, Message]]:
        """Answer each item as a worker would that found every chunk right."""
        for item in items:
            self._tick()
            chunks = [json.loads(line) for line in item["chunks"]]
            digest = sum(catalog.digest_of(chunk["id"]) for chunk in chunks) % (1 << 128)
            yield (
                item,
                {
                    "rows": sum(chunk["rows"] for chunk in chunks),
                    "bytes": sum(chunk["bytes"] for chunk in chunks),
                    "digest": f"{digest:032x}",
                    "damaged": [],
                    "hidden": {},
                },
            )

    def finish(self) -> list[Message]:
        """Nothing is left to do."""
        return [{} for _ in self._setup]


COUNTED: Any = Counted


def plan(rehearsal: Rehearsal) -> None:
    """Plan a backup, say what it will cost, and write the plan; the source's answers are made up."""
    from coffre.backup.artefacts import write_catalog_part
    from coffre.backup.commit import draft_manifest
    from coffre.backup.estimate import UNMEASURED, forecast
    from coffre.backup.job import VERSION
    from coffre.backup.paperwork import write_batches, write_draft
    from coffre.backup.plan import plan_batches
    from coffre.prices import load_prices
    from coffre.vault.contents import scratch_folder
    from coffre.vault.files import put_file
    from coffre.vault.manifest import ArchiveFile

    job, services = backup_job(rehearsal)
    source = catalog.description(rehearsal.tables)
    batches = plan_batches(source.inventory.relations)
    forecast("machine", batches, UNMEASURED, workers=8, prices=load_prices())
    with scratch_folder(services.scratch, "plan") as folder:
        part = write_catalog_part(job, services, source, folder)
        schema = folder / "schema"
        schema.write_bytes(b"PGDMP")
        stored = put_file(services.store, schema, f"{job.prefix}schema-{{sha256}}.pgdump")
    files = [ArchiveFile(role="schema", key=stored.key, size=stored.size, sha256=stored.sha256)]
    name, draft = "rehearsed", draft_manifest(job, source, files, services.store.seal)
    write_draft(job, services.store, name, draft, part, batches)
    write_batches(job, services.store, name, batches)
    ledger = services.catalogue.ledger(job.database, job.attempt)
    deadline = job.started + timedelta(seconds=services.max_run_seconds)
    ledger.open(job.id, deadline, version=VERSION)
    ledger.publish(1, "-")
    ledger.planned(name, batches=len(batches), total=sum(batch.size for batch in batches))


def commit(rehearsal: Rehearsal) -> None:
    """Commit: count what all parts hold, write references and manifest."""
    from coffre.backup import steps

    job, services = backup_job(rehearsal)
    result = steps.commit(job, services)
    if result.status != "completed":
        raise RuntimeError(f"the backup is {result.status}")


def known(rehearsal: Rehearsal) -> None:
    """Look up what the newest backup stored, for the workers of the next one."""
    from coffre.backup.feed import write_known_chunks
    from coffre.backup.paperwork import write_known_file
    from coffre.vault.contents import scratch_folder

    job, services = backup_job(rehearsal)
    with scratch_folder(services.scratch, "known") as folder:
        write_known_chunks(services.store, DATABASE, folder / "known")
        write_known_file(replace(job, attempt="0" * 12), services.store, folder / "known")


def verify(rehearsal: Rehearsal) -> None:
    """Verify: every list that it reads, compares and hands to the proof."""
    from coffre.events.verify import VerifyRequest
    from coffre.verify import run

    def invoke_prove(event: dict[str, object], _: float) -> dict[str, object]:
        (wiring.settings().scratch / "ticket").write_text(str(event["ticket_url"]))
        return {
            "verdict": "inconclusive",
            "reasons": [],
            "compared": {},
            "server_version": "",
            "phases": {},
        }

    services = replace(
        wiring.verify_services(),
        publisher=SILENT,
        registry=REGISTERED,
        start_workers=COUNTED,
        invoke_prove=invoke_prove,
    )
    request = VerifyRequest(database=DATABASE, backup_id=rehearsal.backup_id(0))
    result = run.run(request, services, seconds=SECONDS)
    if result.verdict != "inconclusive":
        raise RuntimeError(f"the backup is {result.verdict}: {result.reasons}")


def prove(rehearsal: Rehearsal) -> None:
    """Prove: open the ticket, read the parts, and put the rows in the order in which they are loaded."""
    from coffre.databases.postgresql.load_plan import load_items
    from coffre.vault.contents import largest_first, read_contents, scratch_folder
    from coffre.vault.manifest import MAX_BYTES, decode
    from coffre.vault.ticket import TicketReader, open_ticket

    scratch = wiring.settings().scratch
    with scratch_folder(scratch, "prove") as folder:
        ticket = open_ticket((scratch / "ticket").read_text(), folder / "urls")
        reader = TicketReader(folder / "urls")
        with reader.get(ticket.manifest) as body:
            manifest = decode(body.read(MAX_BYTES + 1), key=ticket.manifest)
        contents = read_contents(reader, manifest, folder / "sections")
        sizes = {relation: end.bytes for relation, end in contents.ends.items()}
        sections = largest_first(folder / "sections")
        if not sum(1 for _ in load_items(sections, sizes, workers=WORKERS, alone=True)):
            raise RuntimeError(f"{rehearsal.backup_id(0)} holds no rows")


def rebuild(rehearsal: Rehearsal) -> None:
    """Make the catalogue again from the vault."""
    from coffre.catalogue.rebuild import rebuild as make

    found = make(wiring.store(), wiring.catalogue(), [DATABASE])
    if found.completed != rehearsal.backups:
        raise RuntimeError(f"found {found}")


def retention(rehearsal: Rehearsal) -> None:
    """Decide on every backup: all that `rotate` does before anything is swept."""
    from coffre.databases.registration import Retention
    from coffre.rotate.examine import examine
    from coffre.rotate.inventory import Horizon, take_inventory
    from coffre.rotate.policy import decide
    from coffre.rotate.quarantine import Suspects

    services, layout, now = wiring.rotate_services(), Layout(DATABASE), utc_now()
    horizon = Horizon.at(now, timedelta(seconds=services.max_run_seconds), None)
    inventory = take_inventory(services.store, layout, horizon)
    suspects = Suspects(services.store, layout, lambda: True)
    examined = examine(services.store, layout, inventory.live, (), suspects, now, has_locks=False)
    if len(decide(examined.facts, Retention(), now)) != rehearsal.backups:
        raise RuntimeError("there is no decision on some backups")


def mark(rehearsal: Rehearsal) -> None:
    """Rotate: decide, hide the oldest backups, mark what only they needed."""
    marked, _ = _rotate(rehearsal, later=timedelta())
    if not marked:
        raise RuntimeError("nothing was marked")


def purge(rehearsal: Rehearsal) -> None:
    """Rotate again when nobody can be reading them any more: delete what is marked."""
    _, purged = _rotate(rehearsal, later=timedelta(days=2))
    if not purged:
        raise RuntimeError("nothing was purged")


def _rotate(rehearsal: Rehearsal, *, later: timedelta) -> tuple[int, int]:
    from coffre.databases.registration import Retention
    from coffre.rotate import run

    services = replace(wiring.rotate_services(), publisher=SILENT, now=lambda: utc_now() + later)
    daily = rehearsal.backups - max(1, rehearsal.backups // DELETED)
    retention = Retention(hourly=0, daily=daily, weekly=0, monthly=0, yearly=0)
    result = run.run({DATABASE: retention}, services, dry_run=False, seconds=7 * 86_400)
    (report,) = result.reports
    return report.marked_chunks, report.purged_chunks


def recheck(rehearsal: Rehearsal) -> None:
    """Read one slice of 256 of all chunks again."""
    from coffre.verify.recheck import Services, recheck

    services = Services(wiring.store(), wiring.catalogue(), lambda *_: None)
    report = recheck(DATABASE, services, days=256, ends=time.monotonic() + SECONDS)
    if report.slices_done != 1 or report.findings:
        raise RuntimeError(f"of {rehearsal.backups} backups: {report}")


STEPS: dict[str, Callable[[Rehearsal], None]] = {
    step.__name__: step
    for step in (plan, commit, known, verify, prove, rebuild, retention, mark, purge, recheck)
}


def main(name: str) -> None:
    """Do a step, and print what it took."""
    order = json.load(sys.stdin)
    requests = [0]

    def count(**_: object) -> None:
        requests[0] += 1

    wiring.client("dynamodb").meta.events.register("before-send.dynamodb", count)
    started = time.perf_counter()
    STEPS[name](Rehearsal.of(order))
    seconds, cpu = time.perf_counter() - started, time.process_time()
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": _peak(), "dynamodb": requests[0]}))


def _peak() -> int:
    """The most that this process had in memory; `getrusage` would count its parent's, too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    raise RuntimeError("the kernel doesn't tell the peak of a process's memory")


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main(sys.argv[1])
