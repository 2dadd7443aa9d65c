"""What a restore will do, found out before anything is changed.

A plan is bound to its token: only the plan that was shown can be confirmed, once, and only while the target,
the backup and the roles are still as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from coffre.choice import Choice
from coffre.databases.postgresql.archive import ArchiveEntry
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.objects import missing_needs
from coffre.databases.postgresql.room import lacking_room
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.toc import TocEntry
from coffre.errors import DatabaseMissingError, TargetLacksError
from coffre.events.restore import RestoreRequest
from coffre.restore.belongings import named_roles, plan_belongings
from coffre.restore.estimate import Estimate
from coffre.restore.fitness import refuse_name, refuse_older, refuse_unfit
from coffre.restore.leftovers import left_databases
from coffre.restore.others import left_to_others, tell_left
from coffre.restore.owners import stronger, too_weak
from coffre.restore.roles import NeededRoles, needed_roles, refuse_nameless, unmapped, used_roles
from coffre.restore.sealed import seal_findings
from coffre.restore.swap import Swap
from coffre.results import Finding, RestorePlan
from coffre.vault.contents import Contents
from coffre.vault.manifest import Manifest

CHECK_SECONDS = 60.0

_SUPERUSER_ONLY = frozenset(
    {
        "EVENT TRIGGER",
        "FOREIGN DATA WRAPPER",
        "OPERATOR CLASS",
        "OPERATOR FAMILY",
        "PROCEDURAL LANGUAGE",
        "SUBSCRIPTION",
        "TEXT SEARCH PARSER",
        "TEXT SEARCH TEMPLATE",
    }
)
"""Kinds of objects that PostgreSQL lets nobody but a superuser create."""


@dataclass(frozen=True)
class Situation:
    """What a look at the target found.

    Attributes
    ----------
    creates:
        Whether the database has to be created.
    superuser:
        Whether the target's role is one.
    roles:
        What has to be done about roles.
    left_out:
        Dump ids of archive entries that can't be restored by this role and aren't content.
    swap:
        The database whose place the restored one takes.
    """

    major: int
    creates: bool
    superuser: bool
    roles: NeededRoles
    left_out: frozenset[int]
    findings: tuple[Finding, ...]
    swap: Swap | None = None
    role_map: Mapping[str, str] = field(default_factory=dict)


def inspect_target(
    target: Target,
    manifest: Manifest,
    contents: Contents,
    entries: Sequence[ArchiveEntry],
    toc: Sequence[TocEntry],
    request: RestoreRequest,
    *,
    swap: Swap | None = None,
) -> Situation:
    """Look at the target without changing anything.

    Parameters
    ----------
    entries, toc:
        The schema archive's, which names the roles of the request's map.
    swap:
        The database that is to be replaced: a new one is built beside it.

    Raises
    ------
    InvalidUrlError, TargetTemplateError, TargetNotEmptyError, TargetTooOldError, TargetLacksError
        Before anything is changed; `TargetLacksError` names everything that is lacking.
    """
    refuse_name(target)
    roles, role_map = request.roles, request.role_map
    session, creates = _connect(target) if swap is None else (_maintenance(target), True)
    with session:
        refuse_older(session, target, manifest)
        if not creates:
            refuse_unfit(session, target, manifest)
        superuser = bool(session.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
        lacking = _lacking_database(session, creates, superuser)
        no_room, unknown = lacking_room(session, manifest.totals.bytes)
        lacking += no_room
        lacking += missing_needs(
            session, manifest.needs, [extension.name for extension in manifest.extensions]
        )
        kept = [] if superuser else left_to_others(session, toc, contents, request, creates=creates)
        others = {entry.dump_id for entry in kept}
        left_out = unrestorable(entries, superuser=superuser) | others
        restored = [entry for entry in toc if entry.dump_id not in others]
        used, encoding = used_roles(contents, manifest, restored, request), manifest.locale.encoding
        refuse_nameless([role for role in used if role.name not in role_map], manifest)
        needed = needed_roles(session, used, role_map, encoding=encoding, superuser=superuser)
        record = contents.database if roles == "keep" else None
        known = {role.name for role in used} | named_roles(None if swap else record)
        lacking += unmapped(session, known, role_map, encoding)
        lacking += needed.lacking
        if superuser and roles == "keep":
            lacking += too_weak(session, toc, encoding)
        if not superuser:
            lacking += [
                f"superuser: {e.description} {e.name}" for e in entries if e.description in _SUPERUSER_ONLY
            ]
        if lacking:
            raise TargetLacksError(f"the role {target.user} at {target.label} lacks: {'; '.join(lacking)}")
        findings = [
            *_warnings(target, superuser, roles, len(left_out) - len(kept)),
            *tell_left(kept, request),
            *needed.findings,
            *stronger(session, [role for role in used if role.name not in role_map], encoding),
            *plan_belongings(
                session,
                record,
                role_map,
                needed,
                encoding=encoding,
                creates=creates,
                replaces=swap is not None,
            ),
            *_elsewhere({entry.tablespace for entry in toc if entry.tablespace}),
            *unknown,
        ]
        if swap is None:
            findings += left_databases(session, target.database)
        return Situation(session.major, creates, superuser, needed, left_out, tuple(findings), swap, role_map)


def unrestorable(entries: Sequence[ArchiveEntry], *, superuser: bool) -> frozenset[int]:
    """Dump ids of entries that only a superuser could restore, and that aren't content."""
    return frozenset(entry.dump_id for entry in entries if not superuser and _extension_comment(entry))


def bound_to(
    manifest: Manifest, root_hash: str, target: Target, situation: Situation, *, roles: str, exceptions: str
) -> dict[str, object]:
    """What a plan's token confirms: if any of it is different when the plan is run, it isn't that plan."""
    swap = situation.swap
    return {
        "root_hash": root_hash,
        "backup": manifest.id,
        "target": [target.host, target.port, target.database, target.user],
        "creates": situation.creates,
        "roles": roles,
        "exceptions": exceptions,
        "role_map": dict(situation.role_map),
        "create_roles": [[role.name, role.member_of, role.options] for role in situation.roles.create],
        "swap": [swap.standing.oid, swap.aside, swap.registered] if swap else None,
    }


def make_plan(
    manifest: Manifest,
    target: Target,
    situation: Situation,
    choice: Choice,
    taking: Estimate,
    *,
    token: str,
    exceptions: str,
) -> RestorePlan:
    """The plan as it is shown."""
    swap = situation.swap
    return RestorePlan(
        mode="swap" if swap else "new",
        token=token,
        database=manifest.database,
        backup_id=manifest.id,
        target=target.label,
        target_database=target.database,
        creates_database=situation.creates,
        kept_as=swap.aside if swap else None,
        safety_backup=swap.registered if swap else None,
        sessions=swap.sessions if swap else 0,
        roles_to_create=situation.roles.created,
        roles_mapped=dict(situation.role_map),
        tables=manifest.totals.relations,
        rows=manifest.totals.rows,
        bytes=manifest.totals.bytes,
        estimate_seconds=taking.seconds,
        estimate_basis=taking.basis,
        where=choice.where,
        reason=choice.reason,
        findings=[
            *situation.findings,
            *(swap.findings if swap else ()),
            *([_accepted(manifest)] if exceptions == "accept" else []),
            *seal_findings(manifest),
        ],
    )


def _accepted(manifest: Manifest) -> Finding:
    message = "what can't be restored is left out and named: constraints that the rows violate, for example"
    return _warning(
        "exceptions-accepted", manifest.id, message, "All rows are restored, or the restore fails."
    )


def _connect(target: Target) -> tuple[Session, bool]:
    """A session with the target database, or with the maintenance database if the target doesn't exist."""
    try:
        return open_session(target, seconds=CHECK_SECONDS, application="coffre/plan"), False
    except DatabaseMissingError:
        return _maintenance(target), True


def _maintenance(target: Target) -> Session:
    return open_session(target.maintenance, seconds=CHECK_SECONDS, application="coffre/plan")


def _lacking_database(session: Session, creates: bool, superuser: bool) -> list[str]:
    if superuser:
        return []
    if creates:
        allowed = session.value("SELECT rolcreatedb FROM pg_roles WHERE rolname = current_user")
        return [] if allowed else ["the right to create a database (CREATEDB)"]
    allowed = session.value("SELECT has_database_privilege(current_database(), 'CREATE')")
    return [] if allowed else ["CREATE on the database"]


def _extension_comment(entry: ArchiveEntry) -> bool:
    return entry.description == "COMMENT" and entry.name.startswith("- EXTENSION ")


def _warnings(target: Target, superuser: bool, roles: str, comments: int) -> list[Finding]:
    findings = []
    if superuser:
        message = (
            f"{target.user} is a superuser: functions in the backup (CHECK constraints, index expressions) "
            "run with its rights while rows are loaded"
        )
        advice = (
            "Restore as an ordinary role if you don't trust whoever could create functions at the source."
        )
        findings.append(_warning("superuser-target", target.user, message, advice))
    if roles == "mine":
        message = (
            f"every object will belong to {target.user}; grants are left out, the database's own as well"
        )
        findings.append(_warning("roles-mine", target.user, message, ""))
    if comments:
        message = f"{comments} comments on extensions stay out: only an extension's owner may set them"
        findings.append(_warning("comments-left-out", "extensions", message, ""))
    return findings


def _elsewhere(tablespaces: Iterable[str]) -> list[Finding]:
    """Tablespaces are directories of the source's machine: none is looked for at the target."""
    return [
        _warning(
            "tablespace-left-out",
            name,
            f"what lay in the tablespace {name} goes to the target database's own",
            "To spread it again: ALTER TABLE or INDEX ... SET TABLESPACE.",
        )
        for name in sorted(tablespaces)
    ]


def _warning(code: str, what: str, message: str, advice: str) -> Finding:
    return Finding(level="warn", code=code, object=what, message=message, advice=advice)
