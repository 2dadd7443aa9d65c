"""The server that a backup is proven on: what it must offer, and its roles.

The source's roles become ordinary ones, and superusers bear names that nobody knows beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from coffre.databases.postgresql.connection import Session, identifier, literal, open_session
from coffre.databases.postgresql.locales import create_database
from coffre.databases.postgresql.memberships import grant_memberships, memberships, with_memberships
from coffre.databases.postgresql.objects import SUPERUSER, missing_needs, missing_versions
from coffre.databases.postgresql.public_schema import shut_public
from coffre.databases.postgresql.roles import nameless, tell_nameless
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.ids import new_attempt
from coffre.prove.job import Proof
from coffre.results import Finding
from coffre.vault.contents import Contents
from coffre.vault.manifest import Manifest
from coffre.vault.parts import Role

_ALL_ROWS = ("pg_read_all_data", "pg_write_all_data")
"""Roles of PostgreSQL's own that reach all rows of a database, and nothing outside of it."""


def own_superuser(server: EphemeralServer) -> Target:
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


def installed(postgres: Path) -> list[int]:
    """The major versions that this box has a server of; see `EphemeralServer.start`."""
    return sorted(int(found.parent.name) for found in postgres.parent.glob("proof/*/template.zst"))


def prepare(proof: Proof, restorer: str) -> tuple[list[Finding], list[Finding]]:
    """Make the database and the roles: what this box lacks for them, and what takes another's place."""
    boot, manifest = replace(proof.rebuild.target, database="postgres"), proof.manifest
    with open_session(boot, seconds=proof.watch.seconds_left) as session:
        missing = [need for need in manifest.needs if need.startswith(SUPERUSER)]
        missing += missing_needs(session, [need for need in manifest.needs if need not in missing], [])
        missing += missing_versions(session, manifest.extensions)
        if missing:
            return [lacking(need) for need in missing], []
        instead = create_database(session, "proof", manifest.locale)
    with proof.rebuild.session() as session:  # whose encoding has the roles' names
        _create_roles(session, proof)
        _create_restorer(session, restorer, [role.name for role in proof.contents.roles])
        session.run(f"ALTER SCHEMA public OWNER TO {identifier(restorer)}")
        shut_public(session)
    return [], [_substituted(manifest, instead)] if instead else []


def nameable(contents: Contents, encoding: str) -> tuple[Contents, list[Finding]]:
    """The contents without the roles that can't be named here, and what that leaves unproven.

    Those that the database doesn't need are no part of a restore either.
    """
    left_out = nameless(contents.roles, encoding)
    if not left_out:
        return contents, []
    names = {role.name for role in left_out}
    roles = [
        replace(role, member_of=tuple(group for group in role.member_of if group not in names))
        for role in contents.roles
        if role.name not in names
    ]
    return replace(contents, roles=roles), tell_nameless(left_out, encoding)


def _substituted(manifest: Manifest, instead: str) -> Finding:
    locale = manifest.locale.locale or manifest.locale.collate
    return Finding(
        level="info",
        code="collation-replaced",
        object=locale,
        message=f"the proof server has no collation {locale}: rows were compared under {instead}",
        advice="What is equal doesn't depend on it; the order of text, and checks that rely on it, may.",
    )


def lacking(need: str, there: str = "") -> Finding:
    """A need, as ``kind:name``, that this box can't fulfil; ``there``: what it has instead."""
    kind, _, name = need.partition(":")
    if kind == "superuser":
        message = f"only a superuser can make the {name}, and in a proof no content of a database is one's"
    else:
        message = f"the proof server has no {kind} {name}" + (f", only {there}" if there else "")
    return Finding(
        level="warn",
        code="needs",
        object=need,
        message=message,
        advice="The backup was read back whole; restore it to a server that has it to be sure.",
    )


def _create_roles(session: Session, proof: Proof) -> None:
    """The source's roles, all of them ordinary ones that can log in: nothing of theirs may reach further.

    Memberships in PostgreSQL's own roles are left out, because some of them run programs and read files; only
    those that reach all rows stay.  The source's superusers get these too, and inherit from all: a
    materialized view of theirs must still find what it reads.
    """
    roles = [in_the_box(role) for role in proof.contents.roles]
    for role in roles:
        session.run(f"CREATE ROLE {identifier(role.name)} {' '.join(role.attributes)}")
    for role in roles:
        for grant in grant_memberships(role):
            session.run(grant)


def in_the_box(role: Role) -> Role:
    """The role with the attributes and memberships that it gets here; see `_create_roles`."""
    groups = {
        group: options
        for group, options in memberships(role).items()
        if group in _ALL_ROWS or not group.startswith("pg_")
    }
    inherits = "NOINHERIT" if "NOINHERIT" in role.attributes else "INHERIT"
    if "SUPERUSER" in role.attributes:
        inherits, groups = "INHERIT", dict.fromkeys([*groups, *_ALL_ROWS], ())
    sees_all = ["BYPASSRLS"] if {"SUPERUSER", "BYPASSRLS"}.intersection(role.attributes) else []
    attributes = ("LOGIN", "NOSUPERUSER", "NOCREATEROLE", "NOCREATEDB", "NOREPLICATION", inherits, *sees_all)
    return with_memberships(replace(role, attributes=attributes), groups)


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
def schemas_open_to_owners(proof: Proof) -> Iterator[None]:
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
