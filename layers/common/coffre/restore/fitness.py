"""Which database a restore may make or fill: one that doesn't exist, or an empty one that is no template.

Its server is no older than the backup's source.
"""

from __future__ import annotations

from coffre.databases.postgresql.connection import Session
from coffre.databases.postgresql.objects import count_objects
from coffre.databases.postgresql.target import Target
from coffre.errors import (
    InvalidUrlError,
    TargetLacksError,
    TargetNotEmptyError,
    TargetTemplateError,
    TargetTooOldError,
)
from coffre.restore.leftovers import left_schemas
from coffre.vault.manifest import Manifest

NAME_BYTES = 63
"""Of a name; the server cuts longer ones off, and says so to nobody.
Source: https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS"""

_ALSO_HELD = {
    "schemas": """
SELECT count(*) FROM pg_namespace n WHERE left(nspname, 3) <> 'pg_'
AND nspname NOT IN ('information_schema', 'public')
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = n.oid AND d.deptype = 'e')
""",
    "publications": "SELECT count(*) FROM pg_publication",
    "subscriptions": """
SELECT count(*) FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
""",
}
"""What an empty database hasn't either.  A publication would send the restored rows to its subscribers; a
subscription of its own would be taken for a restored one."""


def refuse_name(target: Target) -> None:
    """Refuse a database's name that the server would cut off.

    Raises
    ------
    InvalidUrlError
    """
    size = len(target.database.encode("utf-8", "surrogateescape"))
    if size > NAME_BYTES:
        raise InvalidUrlError(
            f"the database's name has {size} bytes", f"PostgreSQL's names have {NAME_BYTES} at most."
        )


def refuse_older(session: Session, target: Target, manifest: Manifest) -> None:
    """Refuse a server of an older major version than the one that the backup comes from.

    Raises
    ------
    TargetTooOldError
    """
    if session.major < manifest.engine.major:
        source = manifest.engine.server_version
        raise TargetTooOldError(f"{target.label} is PostgreSQL {session.major}, the backup's source {source}")


def refuse_unfit(session: Session, target: Target, manifest: Manifest) -> None:
    """Refuse a database that is there and isn't to be filled.

    Parameters
    ----------
    session:
        With it.

    Raises
    ------
    TargetTemplateError, TargetNotEmptyError, TargetLacksError
    """
    if session.value("SELECT datistemplate FROM pg_database WHERE datname = current_database()"):
        raise TargetTemplateError(f"{target.label} is a template for new databases")
    left = left_schemas(session)
    if left:
        raise TargetNotEmptyError(
            f"{target.label} holds the schema {left[0].object}: a restore was interrupted, or still runs",
            "When no restore runs, drop the database and make it again, or name another one.",
        )
    held = {kind: number for kind, number in count_objects(session).items() if number}
    for kind, count in _ALSO_HELD.items():
        number = int(session.value(count))
        if number:
            held[kind] = number
    if held:
        what = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in held.items())
        raise TargetNotEmptyError(f"{target.label} holds {what}")
    if session.encoding != manifest.locale.encoding:
        raise TargetLacksError(
            f"{target.label} has encoding {session.encoding}, the backup {manifest.locale.encoding}",
            "Name a database that doesn't exist: it is created with the right encoding.",
        )
