"""Memberships: which roles a role is a member of, and what it may do with each of them.

From 16 on a membership has three options, and the same two roles may have several, by different grantors.
The server looks for any that has the option which it asks for (``roles_is_member_of`` in utils/adt/acl.c):
together they allow what one of them does, and are recorded as one.  Before 16 there is ADMIN alone; whether
a member inherits is an attribute of its own, and it may always become the group.  From 16 on GRANT takes that
attribute for INHERIT unless it is told otherwise, so only what differs from it is recorded.

Who granted a membership isn't: it changes nothing for the member, and a restore is the grantor of all.
Sources: https://www.postgresql.org/docs/current/sql-grant.html and
https://www.postgresql.org/docs/current/catalog-pg-auth-members.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from coffre.databases.postgresql.connection import Session, identifier
from coffre.vault.parts import ADMIN, Role

Groups = Mapping[str, tuple[str, ...]]
"""Groups, and how the membership in each differs from what ``GRANT`` by itself gives."""

_MEMBERSHIPS = """
SELECT r.rolname, g.rolname, r.rolinherit, bool_or(m.admin_option), bool_or({inherits}), bool_or({may_become})
FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
GROUP BY r.rolname, g.rolname, r.rolinherit
ORDER BY r.rolname, g.rolname
"""


def read_memberships(session: Session) -> dict[str, Groups]:
    """The groups of each role that is a member of any."""
    has_options = session.major >= 16
    asked = _MEMBERSHIPS.format(
        inherits="m.inherit_option" if has_options else "r.rolinherit",
        may_become="m.set_option" if has_options else "true",
    )
    found: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for member, group, usual, admin, inherits, may_become in session.run(asked):
        options = [ADMIN] if admin else []
        options += [f"INHERIT {str(inherits).upper()}"] if inherits != usual else []
        options += [] if may_become else ["SET FALSE"]
        found[member][group] = tuple(options)
    return dict(found)


def memberships(role: Role) -> Groups:
    """The groups of a recorded role."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(role.member_of, ())
    for group, option in role.options:
        if group in found:
            found[group] += (option,)
    return found


def with_memberships(role: Role, groups: Groups) -> Role:
    """The role with these groups and no others."""
    options = tuple((group, option) for group, options in groups.items() for option in options)
    return replace(role, member_of=tuple(groups), options=options)


def renamed(role: Role, names: Mapping[str, str]) -> Role:
    """The role under another name, in groups under other names.

    Of groups that become one, the membership allows no more than it did in each of them.
    """
    groups: dict[str, tuple[str, ...]] = {}
    for group, options in memberships(role).items():
        name = names.get(group, group)
        groups[name] = _narrower(groups[name], options) if name in groups else options
    return with_memberships(replace(role, name=names.get(role.name, role.name)), groups)


def _narrower(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    both = set(one).intersection(other)
    either = sorted({*one, *other})
    return tuple(option for option in either if option in both or option.endswith(" FALSE"))


def grant_memberships(role: Role) -> Iterable[str]:
    """The ``GRANT`` statements that make ``role`` a member of others.

    Servers before 16 know no option but ADMIN, and no other comes from one that is as old.
    """
    for group, options in memberships(role).items():
        how = f" WITH {', '.join(options)}" if options else ""
        yield f"GRANT {identifier(group)} TO {identifier(role.name)}{how}"


def spelled(groups: Groups) -> list[str]:
    """Groups for people, each with the options of the membership."""
    return [f"{group} with {' and '.join(sorted(how))}" if how else group for group, how in groups.items()]
