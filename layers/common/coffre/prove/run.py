"""A proof: restore a backup into a PostgreSQL of its own and compare everything that was recorded.

A restored database runs its owner's code (functions in CHECKs, indexes, views).  So this runs where there is
nothing to steal: the function's role may only write logs, what it reads comes as presigned URLs, the source's
roles become ordinary ones, and rows are loaded by sessions that log in as the table's owner, from which no
``RESET`` leads back to a superuser.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from coffre.databases.postgresql.checks import Check, create_reader, run_checks
from coffre.databases.postgresql.compare import compare_objects
from coffre.databases.postgresql.complaints import Complaint
from coffre.databases.postgresql.connection import Session, identifier, literal, open_session
from coffre.databases.postgresql.described import compare_described, compare_roles
from coffre.databases.postgresql.exceptions import Exceptions, explain, with_exceptions
from coffre.databases.postgresql.locales import create_database
from coffre.databases.postgresql.objects import SUPERUSER, missing_needs, missing_versions
from coffre.databases.postgresql.rebuild import WORKERS, Rebuild
from coffre.databases.postgresql.roles import grant_memberships
from coffre.databases.postgresql.schema import SchemaArchive, restore_large_objects
from coffre.databases.postgresql.seal import unreadable
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools, restore_major
from coffre.errors import (
    CoffreError,
    DeadlineExceededError,
    DiskFullError,
    ManifestInvalidError,
    QueryFailedError,
    RowCountMismatchError,
    ServerStartError,
    ServerTooOldError,
    StoreUnavailableError,
    ToolFailedError,
    ToolMissingError,
    WorkerFailedError,
)
from coffre.events import ProveRequest
from coffre.ids import new_attempt
from coffre.results import Compared, Finding, ProofReport, listed
from coffre.timing import Stopwatch
from coffre.vault.contents import Contents, largest_first, read_contents, scratch_folder
from coffre.vault.manifest import MAX_BYTES, Manifest, decode, root_hash
from coffre.vault.parts import Role
from coffre.vault.reader import fetch_file
from coffre.vault.ticket import TicketReader, open_ticket
from coffre.workers import Message, WorkerPool

DISK_FACTOR = 3.0
"""Bytes on disk for each byte of COPY text, with indexes and write-ahead log, at most as seen so far."""

LEAST_FREE = 64 << 20
"""Bytes of scratch space; with less a proof has run into a full disk."""

_NOT_THE_BACKUPS_FAULT = (
    DeadlineExceededError,
    DiskFullError,
    ServerStartError,
    ServerTooOldError,
    StoreUnavailableError,
    ToolMissingError,
    WorkerFailedError,
)

_ALL_ROWS = ("pg_read_all_data", "pg_write_all_data")
"""Roles of PostgreSQL's own that reach all rows of a database, and nothing outside of it."""


@dataclass(frozen=True)
class Services:
    """What a proof works with; see `coffre.backup.job.Services`."""

    postgres: Path
    scratch: Path
    start_workers: Callable[[Sequence[Message], Callable[[], None]], WorkerPool]


@dataclass(frozen=True)
class _Proof:
    """A proof under way."""

    rebuild: Rebuild
    reader: TicketReader
    folder: Path
    server: EphemeralServer
    tools: Tools
    checks: tuple[Check, ...]
    rehearsal: bool

    @property
    def manifest(self) -> Manifest:
        """The backup's manifest."""
        return self.rebuild.manifest

    @property
    def contents(self) -> Contents:
        """What the backup consists of."""
        return self.rebuild.contents

    @property
    def watch(self) -> Stopwatch:
        """The time that is left."""
        return self.rebuild.watch


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
        return _report("inconclusive", [_finding(error, "warn")])
    except CoffreError as error:
        return _report("failed", [_finding(error, "refuse")])


def _prove(request: ProveRequest, services: Services, folder: Path, watch: Stopwatch) -> ProofReport:
    urls = folder / "urls"
    ticket = open_ticket(request.ticket_url, urls)
    reader = TicketReader(urls)
    with reader.get(ticket.manifest) as body:
        content = body.read(MAX_BYTES + 1)
    if root_hash(content) != ticket.root_hash:
        raise ManifestInvalidError(f"{ticket.manifest} isn't the manifest that was to be proven")
    manifest = decode(content, key=ticket.manifest)
    checks = tuple(Check(**check) for check in ticket.checks)
    contents = read_contents(reader, manifest, folder / "sections")
    free = shutil.disk_usage(services.scratch).free
    if manifest.totals.bytes * DISK_FACTOR > free:
        raise DiskFullError(
            f"{manifest.totals.bytes} bytes of rows don't fit the proof's {free} bytes of scratch space"
        )
    major = request.major or manifest.engine.major
    if major < manifest.engine.major:
        raise ServerTooOldError(f"a backup of PostgreSQL {manifest.engine.major} can't be proven on {major}")
    servers = installed(services.postgres)
    if major not in servers:
        lacking = _lacking(f"server:{major}", f"PostgreSQL {', '.join(map(str, servers))}")
        return _report("inconclusive", [lacking])
    with EphemeralServer.start(services.postgres, major, services.scratch, sealed=True) as server:
        target = replace(_own_superuser(server), database="proof")
        reading = {"urls": str(urls)}
        rebuild = Rebuild(target, manifest, contents, watch, services.start_workers, reading, as_owner=True)
        proof = _Proof(
            rebuild, reader, folder, server, Tools(services.postgres), checks, major != manifest.engine.major
        )
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


def _own_superuser(server: EphemeralServer) -> Target:
    """Make the server's superusers bear names that nobody knows beforehand.

    The source may have a role of any name.  If it bore the superuser's, its possessions would be the
    superuser's here, and its code would run as one.
    """
    own = f"proof_{new_attempt()}"
    boot = Target(str(server.socket_dir), server.port, server.superuser, "postgres", sslmode="disable")
    with open_session(boot, seconds=60) as session:
        session.run(f"CREATE ROLE {identifier(own)} SUPERUSER LOGIN")
    with open_session(replace(boot, user=own), seconds=60) as session:
        session.run(
            f"ALTER ROLE {identifier(server.superuser)} RENAME TO {identifier(f'boot_{new_attempt()}')}"
        )
    return replace(boot, user=own)


def _in_box(proof: _Proof) -> ProofReport:
    restorer = f"restorer_{new_attempt()}"
    missing, substitute = _prepare(proof, restorer)
    if missing:
        return _report("inconclusive", missing)
    try:
        return _restored(proof, restorer, substitute)
    except (QueryFailedError, RowCountMismatchError, ToolFailedError) as error:
        if not substitute:
            raise
        return _report("inconclusive", [_finding(error, "warn"), *substitute])


def _restored(proof: _Proof, restorer: str, substitute: list[Finding]) -> ProofReport:
    """Restore and compare; ``substitute`` says what the database was created with instead."""
    watch, rebuild = proof.watch, proof.rebuild
    schema = fetch_file(proof.reader, proof.manifest.schema_file, proof.folder / "schema")
    archive = SchemaArchive(
        proof.tools,
        restore_major(proof.server.major),
        schema,
        rebuild.target,
        watch.deadline,
        ("--no-tablespaces",),
        restorer=restorer,
    )
    archive.schemas()
    with _schemas_open_to_owners(proof):
        with watch.phase("schema"):
            archive.before_rows(schemas=False)
        with watch.phase("rows"):
            findings = rebuild.load(largest_first(proof.folder / "sections"), lambda _rows, _bytes: None)
        with watch.phase("large_objects"):
            _restore_large_objects(proof)
        with watch.phase("indexes"):
            complaints = archive.indexes(WORKERS)
    with watch.phase("grants"):
        complaints += archive.grants(WORKERS)
        exceptions = _explained(proof, archive, complaints)
    with watch.phase("compare"):
        differences, compared = _compare(proof, exceptions)
    with watch.phase("checks"):
        failed_checks = _run_checks(proof)
    with watch.phase("event_triggers"):
        archive.event_triggers()
    findings += [*exceptions.findings, *differences, *failed_checks]
    if substitute:
        # Under another collation a check, an index or a generated value may fail that doesn't at the source.
        checks = {id(finding) for finding in failed_checks}
        findings = [
            _as(finding, "warn")
            if id(finding) in checks or finding.code.startswith("exception-")
            else finding
            for finding in findings
        ]
    return _judge(proof, [*findings, *substitute], compared)


def _explained(proof: _Proof, archive: SchemaArchive, complaints: list[Complaint]) -> Exceptions:
    """What can't be restored, named; an ordinary role adds what of it can be kept."""
    if not complaints:
        return Exceptions()
    with proof.rebuild.open_as(archive.restorer) as session:
        return explain(archive, complaints, proof.rebuild.open_as, session)


def _run_checks(proof: _Proof) -> list[Finding]:
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

    return run_checks(proof.checks, connect, seconds_left)


def _restore_large_objects(proof: _Proof) -> None:
    file = proof.manifest.file("large_objects")
    if file is not None:
        path = fetch_file(proof.reader, file, proof.folder / "large_objects")
        target, deadline = proof.rebuild.target, proof.watch.deadline
        major = restore_major(proof.server.major)
        restore_large_objects(proof.tools, major, path, target, deadline=deadline)


def _judge(proof: _Proof, findings: list[Finding], compared: Compared) -> ProofReport:
    version = f"PostgreSQL {proof.server.major}"
    if proof.rehearsal:
        # Another text of the same value is what an upgrade brings, and stands in nobody's way.
        findings = [
            _as(finding, "info") if finding.code == "text-changed" else finding for finding in findings
        ]
    if any(finding.level == "refuse" for finding in findings):
        findings = [*with_exceptions(findings, proof.manifest.id), *findings]
        return _report("failed", findings, compared, version, proof.watch.phases)
    if compared.tables == 0:
        nothing = Finding(
            level="refuse",
            code="nothing-compared",
            object=proof.manifest.id,
            message="the backup holds no table",
        )
        return _report("failed", [nothing], compared, version, proof.watch.phases)
    if any(finding.level == "warn" for finding in findings):
        return _report("inconclusive", findings, compared, version, proof.watch.phases)
    return _report("proven", findings, compared, version, proof.watch.phases)


def _prepare(proof: _Proof, restorer: str) -> tuple[list[Finding], list[Finding]]:
    """Make the database and the roles: what this box lacks for them, and what takes another's place."""
    boot, manifest = replace(proof.rebuild.target, database="postgres"), proof.manifest
    with open_session(boot, seconds=proof.watch.seconds_left) as session:
        missing = [need for need in manifest.needs if need.startswith(SUPERUSER)]
        missing += missing_needs(session, [need for need in manifest.needs if need not in missing], [])
        missing += missing_versions(session, manifest.extensions)
        if missing:
            return [_lacking(need) for need in missing], []
        instead = create_database(session, "proof", manifest.locale)
        _create_roles(session, proof)
        _create_restorer(session, restorer, [role.name for role in proof.contents.roles])
    with proof.rebuild.session() as session:
        session.run(f"ALTER SCHEMA public OWNER TO {identifier(restorer)}")
    return [], [_substituted(manifest, instead)] if instead else []


def _substituted(manifest: Manifest, instead: str) -> Finding:
    locale = manifest.locale.locale or manifest.locale.collate
    return Finding(
        level="info",
        code="collation-replaced",
        object=locale,
        message=f"the proof server has no collation {locale}: rows were compared under {instead}",
        advice="What is equal doesn't depend on it; the order of text, and checks that rely on it, may.",
    )


def installed(postgres: Path) -> list[int]:
    """The major versions that this box has a server of; see `EphemeralServer.start`."""
    return sorted(int(found.parent.name) for found in postgres.parent.glob("proof/*/template.tar.zst"))


def _lacking(need: str, there: str = "") -> Finding:
    """A need, as ``kind:name``, that this box can't fulfil; ``there``: what it has instead."""
    instead = f", only {there}" if there else ""
    return Finding(
        level="warn",
        code="needs",
        object=need,
        message=f"the proof server has no {need.replace(':', ' ', 1)} to offer{instead}",
        advice="The backup was read back whole; restore it to a server that has it to be sure.",
    )


def _create_roles(session: Session, proof: _Proof) -> None:
    """The source's roles, all of them ordinary ones that can log in: nothing of theirs may reach further.

    Memberships in PostgreSQL's own roles are left out, because some of them run programs and read files; only
    those that reach all rows stay.  The source's superusers get these too: a materialized view of theirs must
    still find what it reads.
    """
    for role in proof.contents.roles:
        sees_all = {"SUPERUSER", "BYPASSRLS"} & set(role.attributes)
        attributes = (
            f"LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION {'BYPASSRLS' if sees_all else ''}"
        )
        session.run(f"CREATE ROLE {identifier(role.name)} {attributes}")
    for role in proof.contents.roles:
        for grant in grant_memberships(_in_the_box(role)):
            session.run(grant)


def _in_the_box(role: Role) -> Role:
    """The role with the memberships that it gets here; see `_create_roles`."""
    groups = {name for name in role.member_of if name in _ALL_ROWS or not name.startswith("pg_")}
    if "SUPERUSER" in role.attributes:
        groups.update(_ALL_ROWS)
    return replace(role, member_of=tuple(sorted(groups)))


def _create_restorer(session: Session, name: str, roles: Sequence[str]) -> None:
    """The ordinary role that restores: what it restores runs the database's own code, with its rights.

    It may act as each of the source's roles, and none of them as more than itself.
    """
    session.run(f"CREATE ROLE {identifier(name)} LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB BYPASSRLS")
    everyone = ", ".join(identifier(role) for role in [name, *roles])
    session.run(f"GRANT CREATE ON DATABASE proof TO {everyone}")
    for role in roles:
        session.run(f"GRANT {identifier(role)} TO {identifier(name)}")


@contextmanager
def _schemas_open_to_owners(proof: _Proof) -> Iterator[None]:
    """Grants come after the rows; until then all roles may use all schemas, and make their objects there."""
    roles = ", ".join(identifier(role.name) for role in proof.contents.roles)
    mine = "left(nspname, 3) <> 'pg_' AND nspname <> 'information_schema'"
    with proof.rebuild.session() as session:
        found = session.run(f"SELECT oid::bigint, nspname, nspacl::text FROM pg_namespace WHERE {mine}")
        schemas = ", ".join(identifier(row[1]) for row in found)
        if roles and schemas:
            session.run(f"GRANT USAGE, CREATE ON SCHEMA {schemas} TO {roles}")
    yield
    with proof.rebuild.session() as session:
        for oid, _, grants in found:  # REVOKE would take from owners what is theirs
            before = "NULL" if grants is None else f"{literal(grants)}::aclitem[]"
            session.run(f"UPDATE pg_namespace SET nspacl = {before} WHERE oid = {oid}")


def _compare(proof: _Proof, exceptions: Exceptions) -> tuple[list[Finding], Compared]:
    contents, manifest = proof.contents, proof.manifest
    findings, tables, rows = proof.rebuild.compare(proof.server.major)
    same_major = manifest.engine.server_version_num // 10_000 == proof.server.major
    with proof.rebuild.session() as session:
        findings += compare_objects(session, manifest, exceptions.missing)
        roles = [_in_the_box(role) for role in contents.roles]
        findings += compare_roles(session, roles)
        if "objects" in manifest.requires:
            # Between majors the rights that everybody has by default may differ.
            level: Literal["refuse", "info"] = "refuse" if same_major else "info"
            findings += compare_described(session, contents.described, level=level)
    objects = manifest.objects
    compared = Compared(
        tables=tables,
        rows=rows,
        digests=tables,
        sequences=len(contents.sequences),
        constraints=objects.get("constraints", 0),
        indexes=objects.get("valid_indexes", 0),
        materialized_views=objects.get("populated_materialized_views", 0),
        large_objects=objects.get("large_objects", 0),
        grants=sum(len(item.grants) for item in contents.described),
        comments=sum(bool(item.comment) for item in contents.described),
        roles=len(roles),
        memberships=sum(len(role.member_of) for role in roles),
        generated=sum(bool(end.generated) for end in contents.ends.values()),
        checks=len(proof.checks),
    )
    return findings, compared


def _as(finding: Finding, level: Literal["warn", "info"]) -> Finding:
    return finding.model_copy(update={"level": level})


def _finding(error: CoffreError, level: str) -> Finding:
    return Finding.model_validate(
        {"level": level, "code": error.code, "object": "", "message": error.message, "advice": error.hint}
    )


def _report(
    verdict: str,
    reasons: list[Finding],
    compared: Compared | None = None,
    version: str = "",
    phases: dict[str, float] | None = None,
) -> ProofReport:
    return ProofReport.model_validate(
        {
            "verdict": verdict,
            "reasons": [reason.model_dump() for reason in listed(reasons)],
            "compared": (compared or Compared()).model_dump(),
            "server_version": version,
            "phases": phases or {},
        }
    )
