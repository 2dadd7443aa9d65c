"""Whether a server has room for a database: disk, as far as it can be seen from here, and connections."""

from __future__ import annotations

import shutil
from pathlib import Path

from coffre.databases.postgresql.connection import Session
from coffre.errors import PrivilegesMissingError
from coffre.results import Finding

DISK_FACTOR = 3.0
"""Bytes on disk for each byte of COPY text, with indexes and write-ahead log, at most as seen so far."""

SESSIONS = 4
"""What a restore opens at once: two that load or pg_restore's jobs, pg_restore's leader, and one of ours."""

_FREE = """
SELECT least(
  current_setting('max_connections')::int
    - CASE WHEN r.rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::int END
    - (SELECT count(*) FROM pg_stat_activity
       WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
  CASE WHEN r.rolsuper OR r.rolconnlimit < 0 THEN NULL ELSE r.rolconnlimit
    - (SELECT count(*) FROM pg_stat_activity WHERE usesysid = r.oid AND pid <> pg_backend_pid()) END)
FROM pg_roles r WHERE r.rolname = current_user
"""


def free_sessions(session: Session) -> int:
    """How many further sessions the role may open."""
    return max(0, int(session.value(_FREE)))


def lacking_room(session: Session, size: int) -> tuple[list[str], list[Finding]]:
    """What the server lacks to take a database, as phrases; and what can't be known.

    Parameters
    ----------
    size:
        Bytes of COPY text.
    """
    lacking = []
    free = free_sessions(session)
    if free < SESSIONS:
        lacking.append(f"connections: {free} are free, a restore takes {SESSIONS}")
    needed, there = int(size * DISK_FACTOR), _free_disk(session)
    if there is None:
        return lacking, [_unknown(needed)]
    if needed > there:
        lacking.append(f"room on its disk: about {_size(needed)} are needed, {_size(there)} are free")
    return lacking, []


def _free_disk(session: Session) -> int | None:
    """Bytes that are free where the server keeps its data; None if that isn't on this machine."""
    if not session.target.host.startswith("/"):
        return None
    try:
        return shutil.disk_usage(Path(str(session.value("SHOW data_directory")))).free
    except (OSError, PrivilegesMissingError):
        return None


def _unknown(needed: int) -> Finding:
    return Finding(
        level="info",
        code="disk-unknown",
        object="disk",
        message=f"about {_size(needed)} are needed on the target's disk; what is free there can't be asked",
        advice="Look before you confirm.",
    )


def _size(number: int) -> str:
    """Bytes as people read them."""
    return f"{number / 1e6:,.1f} MB" if number < 1e9 else f"{number / 1e9:,.1f} GB"
