"""A proof: restore a backup into a PostgreSQL of its own and compare everything that was recorded.

A restored database runs its owner's code (functions in CHECKs, indexes, views).  So this runs where there is
nothing to steal: the function's role may only write logs, what it reads comes as presigned URLs, the source's
roles become ordinary ones, and rows are loaded by sessions that log in as the table's owner, from which no
``RESET`` leads back to a superuser.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from coffre.databases.postgresql import compare
from coffre.databases.postgresql.connection import Session, Target, identifier, literal, open_session
from coffre.databases.postgresql.load import load_items
from coffre.databases.postgresql.objects import missing_needs
from coffre.databases.postgresql.roles import grant_memberships
from coffre.databases.postgresql.schema import SchemaArchive, restore_large_objects, set_sequences
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.tools import Tools, dump_major
from coffre.errors import (
    CoffreError,
    DeadlineExceededError,
    DiskFullError,
    ManifestInvalidError,
    ServerStartError,
    StoreUnavailableError,
    WorkerFailedError,
)
from coffre.events import ProveRequest
from coffre.results import Compared, Finding, ProofReport
from coffre.vault.contents import Contents, largest_first, read_contents, scratch_folder
from coffre.vault.manifest import MAX_BYTES, ArchiveFile, Manifest, decode, root_hash
from coffre.vault.reader import fetch
from coffre.vault.ticket import TicketReader, open_ticket
from coffre.workers import Message, WorkerPool

WORKERS = 2
DISK_FACTOR = 3.0
"""Bytes on disk for each byte of COPY text, with indexes and write-ahead log, at most as seen so far."""

_NOT_THE_BACKUPS_FAULT = (
    DeadlineExceededError,
    DiskFullError,
    ServerStartError,
    StoreUnavailableError,
    WorkerFailedError,
)


@dataclass(frozen=True)
class Services:
    """What a proof works with; see `coffre.backup.run.Services`."""

    postgres: Path
    scratch: Path
    start_workers: Callable[[Sequence[Message], Callable[[], None]], WorkerPool]


@dataclass
class _Proof:
    """A proof under way."""

    services: Services
    folder: Path
    urls: Path
    deadline: float
    manifest: Manifest
    contents: Contents
    server: EphemeralServer
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        """The restored database, as the superuser."""
        return Target(
            str(self.server.socket_dir), self.server.port, self.server.superuser, "proof", sslmode="disable"
        )

    @property
    def seconds_left(self) -> float:
        """Until the proof must have ended."""
        return self.deadline - time.monotonic()

    def check_time(self) -> None:
        """Raise DeadlineExceededError when the time is over."""
        if self.seconds_left < 0:
            raise DeadlineExceededError("the proof did not end in its time")

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a phase."""
        started = time.monotonic()
        yield
        self.phases[name] = round(time.monotonic() - started, 3)
        self.check_time()


def run(request: ProveRequest, services: Services) -> ProofReport:
    """Prove the backup that the request's ticket names.

    Returns
    -------
    ProofReport
        ``failed`` if the backup can't be restored or differs, ``inconclusive`` if this box can't tell.
    """
    deadline = time.monotonic() + request.seconds
    try:
        with scratch_folder(services.scratch, "proof") as folder:
            return _prove(request, services, folder, deadline)
    except _NOT_THE_BACKUPS_FAULT as error:
        return _report("inconclusive", [_finding(error, "warn")])
    except CoffreError as error:
        return _report("failed", [_finding(error, "refuse")])


def _prove(request: ProveRequest, services: Services, folder: Path, deadline: float) -> ProofReport:
    urls = folder / "urls"
    ticket = open_ticket(request.ticket_url, urls)
    reader = TicketReader(urls)
    with reader.get(ticket.manifest) as body:
        content = body.read(MAX_BYTES + 1)
    if root_hash(content) != ticket.root_hash:
        raise ManifestInvalidError(f"{ticket.manifest} isn't the manifest that was to be proven")
    manifest = decode(content, key=ticket.manifest)
    contents = read_contents(reader, manifest, folder / "sections")
    free = shutil.disk_usage(services.scratch).free
    if manifest.totals.bytes * DISK_FACTOR > free:
        raise DiskFullError(
            f"{manifest.totals.bytes} bytes of rows don't fit the proof's {free} bytes of scratch space"
        )
    major = dump_major(manifest.engine.server_version_num // 10_000)
    with EphemeralServer.start(services.postgres, major, services.scratch) as server:
        return _in_box(_Proof(services, folder, urls, deadline, manifest, contents, server))


def _in_box(proof: _Proof) -> ProofReport:
    missing = _prepare(proof)
    if missing:
        return _report("inconclusive", missing, phases=proof.phases)
    tools = Tools(proof.services.postgres)
    archive = SchemaArchive(
        tools,
        proof.server.major,
        _fetch_file(proof, "schema"),
        proof.target,
        proof.deadline,
        ("--no-tablespaces",),
    )
    with proof.phase("schema"):
        archive.before_rows()
    with proof.phase("rows"), _schemas_open_to_owners(proof):
        _load(proof)
    if proof.manifest.file("large_objects") is not None:
        with proof.phase("large_objects"):
            file = _fetch_file(proof, "large_objects")
            restore_large_objects(tools, proof.server.major, file, proof.target, deadline=proof.deadline)
    with proof.phase("indexes"):
        archive.after_rows(WORKERS)
    with proof.phase("compare"):
        findings, compared = _compare(proof)
    with proof.phase("event_triggers"):
        archive.event_triggers()
    return _judge(proof, findings, compared)


def _judge(proof: _Proof, findings: list[Finding], compared: Compared) -> ProofReport:
    version = f"PostgreSQL {proof.server.major}"
    if any(finding.level == "refuse" for finding in findings):
        return _report("failed", findings, compared, version, proof.phases)
    if compared.tables == 0:
        nothing = Finding(
            level="refuse",
            code="nothing-compared",
            object=proof.manifest.id,
            message="the backup holds no table",
        )
        return _report("failed", [nothing], compared, version, proof.phases)
    if any(finding.level == "warn" for finding in findings):
        return _report("inconclusive", findings, compared, version, proof.phases)
    return _report("proven", findings, compared, version, proof.phases)


def _prepare(proof: _Proof) -> list[Finding]:
    """Make the database and the roles; what this box lacks for them."""
    if any(role.name == proof.server.superuser for role in proof.contents.roles):
        # Its possessions would belong to the superuser here, and its code would run as one.
        return [_lacking(f"role:{proof.server.superuser}")]
    boot = replace(proof.target, database="postgres")
    with open_session(boot, seconds=proof.seconds_left) as session:
        needs = proof.manifest.needs
        missing = missing_needs(session, needs, [extension.name for extension in proof.manifest.extensions])
        if missing:
            return [_lacking(need) for need in missing]
        encoding = literal(proof.manifest.locale.encoding)
        session.run(
            f"CREATE DATABASE proof TEMPLATE template0 ENCODING {encoding} LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        _create_roles(session, proof)
    return []


def _lacking(need: str) -> Finding:
    """A need, as ``kind:name``, that this box can't fulfil."""
    return Finding(
        level="warn",
        code="needs",
        object=need,
        message=f"the proof server has no {need.replace(':', ' ')} to offer",
        advice="The backup was read back whole; restore it to a server that has it to be sure.",
    )


def _create_roles(session: Session, proof: _Proof) -> None:
    """The source's roles, all of them ordinary ones that can log in: nothing of theirs may reach further.

    Memberships in PostgreSQL's own roles are left out: some of them run programs and read files.
    """
    roles = [
        replace(role, member_of=tuple(name for name in role.member_of if not name.startswith("pg_")))
        for role in proof.contents.roles
    ]
    for role in roles:
        session.run(
            f"CREATE ROLE {identifier(role.name)} LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION"
        )
    for role in roles:
        for grant in grant_memberships(role):
            session.run(grant)


@contextmanager
def _schemas_open_to_owners(proof: _Proof) -> Iterator[None]:
    """Grants come after the rows, so until then owners may use all schemas."""
    relations = proof.contents.relations.values()
    schemas = ", ".join(sorted({identifier(relation.schema) for relation in relations}))
    owners = ", ".join(sorted({identifier(relation.owner) for relation in relations}))
    if not schemas:
        yield
        return
    with open_session(proof.target, seconds=proof.seconds_left) as session:
        session.run(f"GRANT USAGE ON SCHEMA {schemas} TO {owners}")
        yield
        session.run(f"REVOKE USAGE ON SCHEMA {schemas} FROM {owners}")


def _load(proof: _Proof) -> None:
    setup = {
        "task": "load",
        "target": asdict(proof.target),
        "seconds": proof.seconds_left,
        "as_owner": True,
        "encoding": proof.manifest.settings["client_encoding"],
        "urls": str(proof.urls),
    }
    sections = ((section.relation, section.chunks) for section in largest_first(proof.folder / "sections"))
    with proof.services.start_workers([setup] * WORKERS, proof.check_time) as pool:
        for _ in pool.map(load_items(sections)):
            pass
        pool.finish()
    with open_session(proof.target, seconds=proof.seconds_left) as session:
        set_sequences(session, proof.contents.sequences)


def _compare(proof: _Proof) -> tuple[list[Finding], Compared]:
    manifest = proof.manifest
    setup = {
        "task": "compare",
        "target": asdict(proof.target),
        "seconds": proof.seconds_left,
        "encoding": manifest.settings["client_encoding"],
    }
    source = manifest.engine.server_version_num // 10_000
    findings, tables, rows = [], 0, 0
    with proof.services.start_workers([setup] * WORKERS, proof.check_time) as pool:
        for item, answer in pool.map(compare.compare_items(compare.expectations(proof.contents))):
            tables, rows = tables + 1, rows + int(answer["rows"])
            finding = compare.judge(item, answer, source=source, here=proof.server.major)
            findings += [finding] if finding else []
        pool.finish()
    with open_session(proof.target, seconds=proof.seconds_left) as session:
        findings += compare.compare_sequences(session, proof.contents)
        findings += compare.compare_objects(session, manifest)
    objects = manifest.objects
    compared = Compared(
        tables=tables,
        rows=rows,
        digests=tables,
        sequences=len(proof.contents.sequences),
        constraints=objects.get("constraints", 0),
        indexes=objects.get("valid_indexes", 0),
        materialized_views=objects.get("populated_materialized_views", 0),
        large_objects=objects.get("large_objects", 0),
    )
    return findings, compared


def _fetch_file(proof: _Proof, role: str) -> Path:
    file = next((file for file in proof.manifest.files if file.role == role), None)
    if not isinstance(file, ArchiveFile):
        raise ManifestInvalidError(f"{proof.manifest.id} has no {role} file")
    path = proof.folder / role
    with (
        fetch(TicketReader(proof.urls), file.key, size=file.size, sha256=file.sha256) as body,
        path.open("wb") as out,
    ):
        shutil.copyfileobj(body, out)
    return path


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
            "reasons": [reason.model_dump() for reason in reasons],
            "compared": (compared or Compared()).model_dump(),
            "server_version": version,
            "phases": phases or {},
        }
    )
