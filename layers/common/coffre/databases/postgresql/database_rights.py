"""Who owns a database and who may do what with it: from a backup's record to statements.

Source: https://www.postgresql.org/docs/current/ddl-priv.html (abbreviations of privileges), ``aclitemout`` in
acl.c
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from coffre.databases.postgresql.connection import identifier
from coffre.vault.parts import DatabaseRecord

_ITEM = re.compile(
    r"""(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^"=]*))=(?P<letters>(?:[A-Za-z]\*?)*)/.*""", re.DOTALL
)
GRANTEES = 500
"""Of a statement: each writes the whole list of the database's rights anew."""

_PRIVILEGES = {"C": "CREATE", "T": "TEMPORARY", "c": "CONNECT"}


@dataclass(frozen=True)
class DatabaseRights:
    """The rights that a record tells of.

    Attributes
    ----------
    default:
        Whether they are those that every database has: everybody may connect.
    grants:
        (role, or "" for everybody; privilege; whether it may be passed on).
    unknown:
        What isn't understood: the vault's words become part of a statement, so no others are taken.
    """

    owner: str
    default: bool
    grants: tuple[tuple[str, str, bool], ...]
    unknown: tuple[str, ...]

    @property
    def grantees(self) -> list[str]:
        """The roles that something is granted to, each once."""
        return sorted({role for role, _, _ in self.grants if role})


def rights_of(record: DatabaseRecord, role_map: Mapping[str, str]) -> DatabaseRights:
    """The rights in a record, those of mapped roles given to the roles that take their place."""
    grants: list[tuple[str, str, bool]] = []
    unknown = []
    for item in record.grants:
        found = _ITEM.fullmatch(item)
        letters = re.findall(r"([A-Za-z])(\*?)", found["letters"]) if found else []
        if found is None or not all(letter in _PRIVILEGES for letter, _ in letters):
            unknown.append(item)
            continue
        name = found["plain"] or (found["quoted"] or "").replace('""', '"')
        role = role_map.get(name, name)
        grants += [(role, _PRIVILEGES[letter], bool(option)) for letter, option in letters]
    owner = role_map.get(record.owner, record.owner)
    return DatabaseRights(owner, not record.grants, tuple(grants), tuple(unknown))


def give_database(name: str, owner: str) -> str:
    """The statement that makes a role the owner of database ``name``."""
    return f"ALTER DATABASE {identifier(name)} OWNER TO {identifier(owner)}"


def give_grants(rights: DatabaseRights, name: str, owner: str, roles: Collection[str]) -> Iterator[str]:
    """The statements that grant what is recorded on database ``name``, and take from everybody what isn't.

    Where it is what every database has, it keeps its own.  The owner grants: for another role the server
    takes whichever of its groups may pass a privilege on, and such a group can't grant it to the one from
    whom it has it.

    Parameters
    ----------
    owner:
        Who owns it; another one than the recorded keeps what an owner has.
    roles:
        The roles that are there: others are granted nothing.
    """
    if rights.default:
        return
    subject = f"DATABASE {identifier(name)}"
    yield f"SET LOCAL ROLE {identifier(owner)}"
    yield f"REVOKE ALL ON {subject} FROM PUBLIC"
    if owner == rights.owner:
        yield f"REVOKE ALL ON {subject} FROM {identifier(owner)}"
    there = (grant for grant in rights.grants if not grant[0] or grant[0] in roles)
    for (privilege, passed_on), alike in groupby(there, key=lambda grant: grant[1:]):  # in their order
        names = [identifier(role) if role else "PUBLIC" for role, _, _ in alike]
        option = " WITH GRANT OPTION" if passed_on else ""
        for at in range(0, len(names), GRANTEES):
            yield f"GRANT {privilege} ON {subject} TO {', '.join(names[at : at + GRANTEES])}{option}"
    yield "SET LOCAL ROLE NONE"
