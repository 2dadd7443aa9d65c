"""The file that PostgreSQL's own tools make of a database: its schema.

The COPY pump reads rows and large objects.  ``pg_dump --section=pre-data --section=post-data`` holds the
schema and the refreshes of materialized views and no data, and so the run fails if an archive holds any.
"""

from __future__ import annotations

from pathlib import Path
from shutil import disk_usage

from coffre.databases.postgresql.archive import ArchiveEntry, archive_entries, data_entries
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.snapshot import import_snapshot
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools
from coffre.errors import (
    BackupIncompleteError,
    CoffreError,
    DiskFullError,
    SnapshotLostError,
    ToolFailedError,
)

_ASKING_SECONDS = 10.0

_BLOCK_BYTES = 4096
"""With less room pg_dump may lose the end of an archive, and say that all is well: it seeks in what it hasn't
written yet, and doesn't look whether that could be written.
Source: ``_CloseArchive`` in pg_backup_custom.c"""


def dump_schema(
    tools: Tools,
    major: int,
    target: Target,
    snapshot: str,
    out: Path,
    *,
    deadline: float,
    lock_seconds: float,
) -> None:
    """Write the schema, as it is under ``snapshot``, to ``out``.

    Parameters
    ----------
    lock_seconds:
        How long it waits for the tables' locks; somebody who wants a stronger one may be first in the queue.

    Raises
    ------
    BackupIncompleteError
        If the archive holds data, which belongs elsewhere.
    SnapshotLostError
        If nobody holds the snapshot any more.
    DiskFullError
        If there was no room for it.
    CoffreError
        As `Tools.run` does.
    """
    arguments = [
        "--format=custom",
        "--compress=0",
        "--section=pre-data",
        "--section=post-data",
        "--no-large-objects" if major >= 18 else "--no-blobs",
        f"--lock-wait-timeout={int(lock_seconds * 1000)}",
        "--no-password",
        f"--snapshot={snapshot}",
    ]
    try:
        tools.run("pg_dump", major, arguments, target, deadline=deadline, stdout=out)
    except ToolFailedError:
        _refuse_lost(snapshot, target)
        raise
    try:
        held = data_entries(list_entries(tools, major, out, deadline=deadline))
    except ToolFailedError as error:
        if disk_usage(out.parent).free < _BLOCK_BYTES:
            raise DiskFullError(f"there was no room for the schema of {target.label}") from error
        raise
    if held:
        kinds = ", ".join(sorted({entry.description for entry in held}))
        raise BackupIncompleteError(f"the schema archive of {target.label} holds data: {kinds}")


def _refuse_lost(snapshot: str, target: Target) -> None:
    """Raise if nobody holds the snapshot any more: pg_dump prints no SQLSTATE, so a session of ours asks."""
    try:
        with open_session(target, seconds=_ASKING_SECONDS) as session:
            import_snapshot(session, snapshot)
    except SnapshotLostError:
        raise
    except CoffreError:
        return  # what pg_dump said tells more


def list_entries(
    tools: Tools, major: int, archive: Path, *options: str, deadline: float
) -> list[ArchiveEntry]:
    """The entries of an archive, in its own order.

    Parameters
    ----------
    options:
        Of ``pg_restore``, for example ``--section=pre-data``.
    """
    listing = tools.run("pg_restore", major, ["--list", *options, str(archive)], deadline=deadline)
    return archive_entries(listing.decode("utf-8", "replace"))
