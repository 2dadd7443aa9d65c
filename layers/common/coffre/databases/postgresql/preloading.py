"""Settings that name libraries for every session to load: where a server lacks one, no session begins.

``ALTER DATABASE`` and ``ALTER ROLE`` take any name, so a restored database could be one that nobody enters.
Source: https://www.postgresql.org/docs/current/runtime-config-client.html#RUNTIME-CONFIG-CLIENT-PRELOAD
"""

from __future__ import annotations

from collections.abc import Iterable

from coffre.databases.postgresql.connection import Session, open_session
from coffre.errors import CoffreError
from coffre.results import Finding

PRELOADED = frozenset({"local_preload_libraries", "session_preload_libraries"})
_SECONDS = 30.0


def usable_settings(
    session: Session, settings: Iterable[tuple[str, str]]
) -> tuple[list[tuple[str, str]], list[Finding]]:
    """Those settings under which sessions begin, and a warning for each of the others.

    Parameters
    ----------
    session:
        With any database of the server; one like it is opened to try.
    settings:
        Pairs of a role, or "" for the database, and ``name=value``.
    """
    kept, findings = list[tuple[str, str]](), list[Finding]()
    for role, setting in settings:
        reason = _keeps_out(session, setting)
        if reason is None:
            kept.append((role, setting))
            continue
        name, subject = setting.partition("=")[0], f"role {role}" if role else "the database"
        findings.append(
            Finding(
                level="warn",
                code="setting-left-out",
                object=f"{subject}: {name}",
                message=f"{name} of {subject} is left out, or no session would begin: {reason}",
                advice="Install the library, and set it again.",
            )
        )
    return kept, findings


def _keeps_out(session: Session, setting: str) -> str | None:
    """Why no session begins under a setting; None if one does, or it loads nothing."""
    name, _, value = setting.partition("=")
    if name not in PRELOADED:
        return None
    try:
        open_session(session.target, seconds=_SECONDS, settings={name: value}).close()
    except CoffreError as error:
        return error.message
    return None
