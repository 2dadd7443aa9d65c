"""A proof: restore a backup into a PostgreSQL of its own and compare everything that was recorded.

A restored database runs its owner's code (functions in CHECKs, indexes, views).  So this runs where there is
nothing to steal: the function's role may only write logs, what it reads comes as presigned URLs, the source's
roles become ordinary ones, and rows are loaded by sessions that log in as the table's owner, from which no
``RESET`` leads back to a superuser.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from coffre.databases.postgresql.adapting import adapted
from coffre.databases.postgresql.checks import UNPROVEN, Check, create_reader, run_checks
from coffre.databases.postgresql.complaints import Complaint
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.exceptions import Exceptions, explain
from coffre.databases.postgresql.partial import excuse, excuse_foreign, refresh_in_turn
from coffre.databases.postgresql.rebuild import Rebuild
from coffre.databases.postgresql.schema import SchemaArchive, restore_large_objects
from coffre.databases.postgresql.seal import unreadable
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.tools import Tools, restore_major
from coffre.errors import (
    CoffreError,
    ConnectionLostError,
    DeadlineExceededError,
    DiskFullError,
    FormatUnsupportedError,
    ManifestInvalidError,
    QueryFailedError,
    RowCountMismatchError,
    ServerMemoryError,
    ServerStartError,
    ServerTooOldError,
    SourceUnreachableError,
    StoreUnavailableError,
    ToolFailedError,
    ToolMissingError,
    WorkerFailedError,
)
from coffre.events.verify import ProveRequest
from coffre.ids import new_attempt
from coffre.prove.box import installed, lacking, nameable, own_superuser, prepare, schemas_open_to_owners
from coffre.prove.fit import LEAST_FREE, fitting
from coffre.prove.job import Proof, Services
from coffre.prove.verdict import at_level, compare, finding_of, judge, report_of
from coffre.results import Finding, ProofReport
from coffre.timing import Stopwatch
from coffre.vault.contents import largest_first, read_contents, scratch_folder
from coffre.vault.manifest import MAX_BYTES, decode, root_hash
from coffre.vault.reader import fetch_file
from coffre.vault.sealed_manifest import open_manifest
from coffre.vault.sealing import handed_over
from coffre.vault.ticket import TicketReader, open_ticket
from coffre.workers import WORKERS

_SETTINGS = {"restart_after_crash": "off"}
"""A server that comes up again has emptied unlogged tables, and compares what it hasn't restored."""

# A format that isn't known is that of a newer version: a deployment renews functions one after the other.
_NOT_THE_BACKUPS_FAULT = (
    ConnectionLostError,
    DeadlineExceededError,
    DiskFullError,
    FormatUnsupportedError,
    ServerMemoryError,
    ServerStartError,
    ServerTooOldError,
    SourceUnreachableError,
    StoreUnavailableError,
    ToolMissingError,
    WorkerFailedError,
)


def run(request: ProveRequest, services: Services) -> ProofReport:
    """Prove the backup that the request's ticket names.

    Returns
    -------
    ProofReport
        ``failed`` if the backup can't be restored or differs, ``inconclusive`` if this box can't tell.
    """
    watch = Stopwatch("the proof", request.seconds)
    try:
        with unreadable(), scratch_folder(services.scratch, "proof") as folder:
            return _prove(request, services, folder, watch)
    except _NOT_THE_BACKUPS_FAULT as error:
        return report_of("inconclusive", [finding_of(error, "warn")])
    except CoffreError as error:
        return report_of("failed", [finding_of(error, "refuse")])


def _prove(request: ProveRequest, services: Services, folder: Path, watch: Stopwatch) -> ProofReport:
    urls = folder / "urls"
    ticket = open_ticket(request.ticket_url, urls)
    seal = handed_over(request.seal)
    reader = TicketReader(urls, seal)
    with reader.get(ticket.manifest) as body:
        content = body.read(MAX_BYTES + 1)
    if root_hash(content) != ticket.root_hash:
        raise ManifestInvalidError(f"{ticket.manifest} isn't the manifest that was to be proven")
    manifest = open_manifest(decode(content, key=ticket.manifest), seal)
    checks = tuple(Check(**check) for check in ticket.checks)
    contents = read_contents(reader, manifest, folder / "sections")
    contents, unproven = nameable(contents, manifest.locale.encoding)
    if unproven:
        return report_of("inconclusive", unproven)
    free = min(shutil.disk_usage(services.scratch).free, services.scratch_bytes)
    fit = fitting(manifest, contents, ticket, free=free, seconds=watch.seconds_left)
    major = request.major or manifest.engine.major
    if major < manifest.engine.major:
        raise ServerTooOldError(f"a backup of PostgreSQL {manifest.engine.major} can't be proven on {major}")
    servers = installed(services.postgres)
    if major not in servers:
        found = lacking(f"server:{major}", f"PostgreSQL {', '.join(map(str, servers))}")
        return report_of("inconclusive", [found])
    root, scratch = services.postgres, services.scratch
    with EphemeralServer.start(root, major, scratch, settings=_SETTINGS, sealed=True) as server:
        target = replace(own_superuser(server), database="proof")
        reading = {"urls": str(urls), "seal": request.seal}
        rebuild = Rebuild(
            target,
            manifest,
            fit.contents,
            watch,
            services.start_workers,
            reading,
            as_owner=True,
            alone=True,
            absent=fit.absent,
        )
        tools, rehearsal = Tools(services.postgres), major != manifest.engine.major
        proof = Proof(rebuild, reader, folder, server, tools, checks, rehearsal, fit.sample)
        with _disk_watched(services.scratch):
            report = _in_box(proof)
            if report.verdict == "failed" and shutil.disk_usage(services.scratch).free < LEAST_FREE:
                raise DiskFullError(f"the proof's scratch space ran full: {report.reasons[0].message}")
            return report


@contextmanager
def _disk_watched(scratch: Path) -> Iterator[None]:
    """Whatever a server or a tool says on a full disk, it says nothing about the backup."""
    try:
        yield
    except CoffreError as error:
        if shutil.disk_usage(scratch).free < LEAST_FREE:
            raise DiskFullError(f"the proof's scratch space ran full: {error.message}") from error
        raise


def _in_box(proof: Proof) -> ProofReport:
    restorer = f"restorer_{new_attempt()}"
    missing, substitute = prepare(proof, restorer)
    if missing:
        return report_of("inconclusive", missing)
    try:
        return _restored(proof, restorer, substitute)
    except (QueryFailedError, RowCountMismatchError, ToolFailedError) as error:
        if not substitute:
            raise
        return report_of("inconclusive", [finding_of(error, "warn"), *substitute])


def _restored(proof: Proof, restorer: str, substitute: list[Finding]) -> ProofReport:
    """Restore and compare; ``substitute`` says what the database was created with instead."""
    watch, rebuild = proof.watch, proof.rebuild
    schema = fetch_file(proof.reader, proof.manifest.schema_file, proof.folder / "schema")
    archive = SchemaArchive(
        proof.tools,
        restore_major(proof.server.major),
        adapted(schema, major=proof.server.major, superuser=True),
        rebuild.target,
        watch.deadline,
        ("--no-tablespaces",),
        restorer=restorer,
    )
    archive.schemas()
    with schemas_open_to_owners(proof):
        with watch.phase("schema"):
            archive.before_rows(schemas=False)
            rebuild.make_large_objects({})
        with watch.phase("rows"):
            sections = largest_first(proof.folder / "sections")
            restored = (section for section in sections if section.relation.id in proof.contents.relations)
            findings = rebuild.load(restored, lambda _rows, _bytes: None)
        with watch.phase("large_objects"):
            rebuild.grant_large_objects({})
            _restore_archive(proof)
        with watch.phase("indexes"):
            complaints = archive.indexes(WORKERS)
    with watch.phase("grants"):
        exceptions = _after_grants(proof, archive, [*complaints, *archive.grants()])
    with watch.phase("compare"):
        differences, compared = compare(proof, exceptions)
    with watch.phase("checks"):
        failed_checks = _run_checks(proof)
    with watch.phase("event_triggers"):
        archive.event_triggers()
    findings += [*exceptions.findings, *differences, *failed_checks]
    if substitute:
        # Under another collation a check, an index or a generated value may fail that doesn't at the source.
        checks = {id(finding) for finding in failed_checks}
        findings = [
            at_level(finding, "warn")
            if id(finding) in checks or finding.code.startswith("exception-")
            else finding
            for finding in findings
        ]
    unproven = sum(finding.code == UNPROVEN for finding in failed_checks)
    compared = compared.model_copy(update={"checks": len(proof.checks) - unproven})
    return judge(proof, [*findings, *substitute], compared)


def _after_grants(proof: Proof, archive: SchemaArchive, complaints: list[Complaint]) -> Exceptions:
    """Refresh materialized views, and name what can't be restored; an ordinary role adds what can be kept."""
    absent = proof.rebuild.absent
    if absent is None:
        complaints += archive.refresh(WORKERS)
        if not complaints:
            return Exceptions()
        with proof.rebuild.open_as(archive.restorer) as session:
            far, rest = excuse_foreign(archive, complaints, session)
            return far.plus(explain(archive, rest, proof.rebuild.open_as, session))
    with proof.rebuild.open_as(archive.restorer) as session:
        views, more = refresh_in_turn(archive, session, absent)
        objects = proof.manifest.objects
        excused, rest = excuse(archive, [*complaints, *more], session, absent, objects)
        far, rest = excuse_foreign(archive, rest, session)
        explained = explain(archive, rest, proof.rebuild.open_as, session)
    return views.plus(excused).plus(far).plus(explained)


def _run_checks(proof: Proof) -> list[Finding]:
    """The owner's checks, by a role of their own whose name nobody knows beforehand."""
    if not proof.checks:
        return []
    reader = replace(proof.rebuild.target, user=f"reader_{new_attempt()}")
    with proof.rebuild.session() as session:
        create_reader(session, reader.user)
    watch = proof.watch

    def seconds_left() -> float:
        watch.check()
        return watch.seconds_left

    def connect() -> Session:
        return open_session(reader, seconds=watch.seconds_left, application="coffre/check")

    return run_checks(proof.checks, connect, seconds_left, proof.rebuild.absent)


def _restore_archive(proof: Proof) -> None:
    """Restore the large objects of an older backup, which has them in an archive."""
    file = proof.manifest.file("large_objects")
    if file is not None and proof.sample is None:
        path = fetch_file(proof.reader, file, proof.folder / "large_objects")
        target, deadline = proof.rebuild.target, proof.watch.deadline
        major = restore_major(proof.server.major)
        restore_large_objects(proof.tools, major, path, target, deadline=deadline)
