"""The steps of a restore on the state machine, which ``statemachines/restore.asl.yaml`` puts in order.

protect, prepare, rows, loaded, judge, then a wave after the other of what follows the rows, check, finish.
Each of them may be killed, repeated or doubled; whatever goes wrong, `coffre.restore.ending`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from coffre.databases.postgresql.compare import GENERATED_DIFFERS, compare_sequences, judge
from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.large_objects import grant, read_edges
from coffre.databases.postgresql.notes import Notes, only_one
from coffre.databases.postgresql.readback import Expected
from coffre.databases.postgresql.room import free_sessions
from coffre.databases.postgresql.set_aside import put_back_noted
from coffre.databases.postgresql.sizes import stored_relations
from coffre.errors import CoffreError, RestoreIncompleteError
from coffre.events.restore_machine import LoadItem, RestoreStepRequest
from coffre.restore.begin import begin_database
from coffre.restore.check import check
from coffre.restore.finish import finish
from coffre.restore.late import archive_of, restore_objects, waves_of
from coffre.restore.machine import MachineJob
from coffre.restore.opening import close_noted
from coffre.restore.pieces import PAGE_BYTES, PIECE_BYTES, Stored, plan_digests, plan_rows, runs
from coffre.restore.refuse import refuse_differences, refuse_exceptions, refuse_lost_rows
from coffre.restore.swap import safety_backup
from coffre.restore.token import token_time
from coffre.restore.waves import LAST
from coffre.results import Finding, RestoreResult, RestoreStep
from coffre.vault.contents import read_contents, scratch_folder
from coffre.vault.reader import read_part

CONCURRENCY = 4
"""Workers at the same time, where no registration says how many."""

SESSIONS_A_WORKER, SESSIONS_BESIDE = 2, 2

IDLE_CALLS = 5
"""As often as the state machine repeats a step whose answer was lost; more, and the wave built nothing."""

OBJECT_ITEMS = 300
"""Items that read large objects, about; see `coffre.restore.pieces.ITEMS`."""


def do(request: RestoreStepRequest, job: MachineJob) -> RestoreStep | RestoreResult:
    """Do the step that the state machine asks for."""
    if request.step == "finish":
        return finish(job, request.report)
    job.goes_on()
    steps = {
        "protect": take_safety_backup,
        "prepare": prepare,
        "rows": plan_loading,
        "loaded": after_loading,
        "judge": judge_content,
        "wave": next_wave,
        "check": check,
    }
    return steps[request.step](job)


def step(job: MachineJob, **values: object) -> RestoreStep:
    """An answer to the state machine."""
    return RestoreStep.model_validate({"run": job.run.short(), **values})


def take_safety_backup(job: MachineJob) -> RestoreStep:
    """Back up the database that is to be replaced, if that was planned; done again it is the same backup."""
    run, take = job.run, job.services.take_backup
    if run.registered is not None:
        job.ledger.enter("safety backup", batches=0)
        planned, seconds = token_time(str(run.request.token)), job.watch.seconds_left
        taken = safety_backup(run.registered, run.backup_id, take, seconds, planned)
        run = run.model_copy(update={"safety_backup": taken})
    return step(job, run=run.short())


def prepare(job: MachineJob) -> RestoreStep:
    """Make the database under its working name, with roles, schema and sequences."""
    job.ledger.enter("schema", batches=0, total=job.manifest.totals.bytes)
    oid, whole = begin_database(job)
    told = job.run.model_copy(update={"oid": oid}).short()
    return step(job, run=told, go=not whole, report=job.kept()[1] if whole else {})


def plan_loading(job: MachineJob) -> RestoreStep:
    """What is to be loaded: all that isn't yet."""
    manifest, store = job.manifest, job.services.store
    with job.session() as session:
        notes = job.notes(session)
        sizes = [[run.bytes for run in runs(read_part(store, part))] for part in manifest.parts]
        items = plan_rows(sizes, manifest.totals.bytes)
        notes.note("runs", str(sum(map(len, sizes))))
        loaded = [notes.loaded(number) for number in range(len(sizes))]
        left = [item for item in items if not loaded[item.part].issuperset(range(item.first, item.end))]
        workers = _workers(job, session)
    job.ledger.enter("rows", batches=len(left))
    return step(job, go=bool(left), items=[item.short() for item in left], concurrency=workers)


def after_loading(job: MachineJob) -> RestoreStep:
    """All rows are there: constraints come back; what is to be compared.

    Raises
    ------
    RestoreIncompleteError
        If rows are missing.
    """
    totals = job.manifest.totals
    with job.session() as session:
        only_one(session, job.run.attempt)
        notes = job.notes(session)
        count, rows = notes.loaded_in_all()
        if (str(count), rows) != (notes.fact("runs"), totals.rows):
            raise RestoreIncompleteError(
                f"{rows} rows of {totals.rows} are loaded, {count} runs of {notes.fact('runs')}"
            )
        refuse_exceptions(job.run.request, job.run.backup_id, put_back_noted(session, notes))
        restore_objects(job, session)
        items = _content_items(session, notes)
        left = [item for item in items if not _all_compared(notes, item)]
        workers = _workers(job, session)
    job.ledger.enter("digests", batches=len(left))
    return step(job, go=bool(left), items=[item.short() for item in left], concurrency=workers)


def judge_content(job: MachineJob) -> RestoreStep:
    """Compare what was read with the backup.

    Raises
    ------
    RowsLostError
        If the server crashed, and emptied unlogged tables.
    RestoreMismatchError
        If it differs.
    RestoreIncompleteError
        If something wasn't read.
    RestoreExceptionsError
        If generated values came out otherwise, and the plan doesn't accept that.
    """
    source = job.manifest.engine.major
    findings: list[Finding] = []
    with job.session() as session, scratch_folder(job.services.scratch, "judge") as folder:
        notes = job.notes(session)
        refuse_lost_rows(job.working, notes)
        missing = [item for item in _content_items(session, notes) if not _all_compared(notes, item)]
        if missing:
            raise RestoreIncompleteError(f"{len(missing)} items were not compared")
        read = notes.compared()
        for number, one in notes.expected():
            found = read[number]
            said = {"rows": found.rows, "digest": f"{found.digest:032x}", "generated": ""}
            said |= {"generated": f"{found.generated:032x}"} if one.generated else {}
            finding = judge(one.item(), said, source=source, here=session.major)
            findings += [finding] if finding else []
        contents = read_contents(job.services.store, job.manifest, folder / "sections")
        findings += compare_sequences(session, contents)
        generated = [finding for finding in findings if finding.code == GENERATED_DIFFERS]
        differing = [finding for finding in findings if finding.code != GENERATED_DIFFERS]
        refuse_differences(job.working, differing)
        refuse_exceptions(job.run.request, job.run.backup_id, generated)
        if job.run.request.roles != "mine":
            grant(session, contents.large_objects, job.run.request.role_map)
        notes.note("generated", json.dumps([finding.model_dump() for finding in generated]))
        notes.note("wave", "")
    return step(job)


def next_wave(job: MachineJob) -> RestoreStep:
    """What follows the rows and can be built next; nothing when all is built.

    Raises
    ------
    RestoreIncompleteError
        If a wave was gone through and nothing of it was built.
    """
    with job.session() as session, scratch_folder(job.services.scratch, "wave") as folder:
        notes, archive = job.notes(session), archive_of(job, session, folder)
        built = notes.built()
        for wave in waves_of(archive):
            missing = [entry for entry in wave.entries if entry.dump_id not in built]
            if not missing:
                continue
            if wave.number >= LAST:
                close_noted(session, notes)
            if _idle_calls(notes, f"{wave.number} {len(missing)}") > IDLE_CALLS:
                raise RestoreIncompleteError(f"{missing[0].description} {missing[0].name} was not built")
            items = [
                LoadItem(kind="late", number=number, part=wave.number, first=first, end=end)
                for number, (first, end) in enumerate(wave.ranges(), 1)
                if any(entry.dump_id not in built for entry in wave.entries[first:end])
            ]
            job.ledger.enter(f"indexes, wave {wave.number + 1}", batches=len(items))
            workers = _workers(job, session)
            return step(job, items=[item.short() for item in items], concurrency=workers)
        close_noted(session, notes)
    return step(job, go=False)


def _idle_calls(notes: Notes, now: str) -> int:
    """How often this step was called in a row and found things as they are ``now``.  It may be repeated."""
    before, _, calls = (notes.fact("wave") or "").partition(": ")
    count = int(calls or 0) + 1 if before == now else 0
    notes.note("wave", f"{now}: {count}")
    return count


def _content_items(session: Session, notes: Notes) -> list[LoadItem]:
    """What is compared, as it was planned the first time: pages that are cut otherwise don't add up."""
    planned = notes.fact("digests")
    if planned is None:
        sizes = stored_relations(session)
        stored = {}
        for number, one in notes.expected():
            stored[number] = _stored(session, one, sizes)
        planned = json.dumps([item.short() for item in plan_digests(stored)])
        notes.note("digests", planned)
    return [LoadItem.model_validate(item) for item in json.loads(planned)]


def _stored(session: Session, one: Expected, sizes: Mapping[tuple[str, str], tuple[int, int]]) -> Stored:
    if not one.relation.is_table:
        edges = read_edges(session, lambda all_bytes: max(PIECE_BYTES, all_bytes // OBJECT_ITEMS))
        return Stored(edges.size, 1, edges.places)
    size, heap = sizes.get(one.place, (0, 0))
    whole = one.relation.kind == "extension_config"
    return Stored(size, 1 if whole else -(-heap // PAGE_BYTES))


def _all_compared(notes: Notes, item: LoadItem) -> bool:
    page = item.pages[0] if item.pages else 0
    return notes.count_compared(item.first, item.end, page) == item.end - item.first


def _workers(job: MachineJob, session: Session) -> int:
    """How many workers the target has sessions for, at most as many as the registration says."""
    try:
        wanted = job.services.registry.get(job.run.database).concurrency
    except CoffreError:
        wanted = CONCURRENCY
    room = (free_sessions(session) - SESSIONS_BESIDE) // SESSIONS_A_WORKER
    return max(1, min(wanted, room))
