"""Fitting an archive to the server and the role that restore it, where pg_dump's statements don't.

- pg_dump 16 writes ``run_as_owner`` of every subscription, also of one at an older server, which doesn't know
  it.
- Grants that somebody else than the owner made are made by ``SET SESSION AUTHORIZATION``, a superuser's
  command; for a role that has the grantor's rights ``SET ROLE`` does the same.

Source: ``dumpSubscription`` in pg_dump.c, ``buildACLCommands`` in dumputils.c
"""

from __future__ import annotations

from pathlib import Path

from coffre.databases.postgresql.rewriting import TOKEN, Edit, rewrite
from coffre.databases.postgresql.toc import read_toc

_RUNS_AS_OWNER = 16
"""From this version on subscriptions know it."""

_SUBSCRIPTION, _RIGHTS = "SUBSCRIPTION", frozenset({"ACL", "DEFAULT ACL"})
_AS_GRANTOR = "SESSION AUTHORIZATION"


def adapted(archive: Path, *, major: int, superuser: bool) -> Path:
    """The archive, or another one beside it that fits.

    Parameters
    ----------
    major:
        The server's.
    superuser:
        Whether the role that restores is one.

    Raises
    ------
    ToolFailedError
        If it isn't an archive in the custom format that this knows.
    """
    subscriptions, grants = major < _RUNS_AS_OWNER, not superuser
    if not (subscriptions or grants):
        return archive
    edit = _Fit(subscriptions=subscriptions, grants=grants)
    if not any(edit.concerns(entry.description, entry.statement) for entry in read_toc(archive)):
        return archive
    out = archive.with_name(f"{archive.name}-adapted")
    rewrite(archive, out, edit)
    return out


class _Fit(Edit):
    def __init__(self, *, subscriptions: bool, grants: bool) -> None:
        self._subscriptions = subscriptions
        self._grants = grants

    def concerns(self, description: str, text: str) -> bool:
        """Whether an entry may have to be changed."""
        if description == _SUBSCRIPTION:
            return self._subscriptions
        return self._grants and description in _RIGHTS and _AS_GRANTOR in text

    def statement(self, description: str, text: str) -> str:
        """The statement as it fits."""
        if not self.concerns(description, text):
            return text
        return _without_owner(text) if description == _SUBSCRIPTION else _by_role(text)


def _without_owner(statement: str) -> str:
    """``CREATE SUBSCRIPTION`` without the option: of words, whatever a literal says."""
    pieces = list(TOKEN.finditer(statement))
    named = [at for at, match in enumerate(pieces) if match["word"] == "run_as_owner"]
    if not named:
        return statement
    start = max(at for at in range(named[0]) if pieces[at][0] == ",")
    end = next(at for at in range(named[0], len(pieces)) if pieces[at][0] in ",)")
    return "".join(match[0] for match in [*pieces[:start], *pieces[end:]])


def _by_role(statement: str) -> str:
    """Grants whose grantor ``SET ROLE`` makes; no name is in capitals and without quotes."""
    pieces: list[str] = []
    skips = False
    for match in TOKEN.finditer(statement):
        skips = match["word"] == "SESSION" or (skips and match[0].isspace())
        if not skips:
            pieces.append("ROLE" if match["word"] == "AUTHORIZATION" else match[0])
    return "".join(pieces)
