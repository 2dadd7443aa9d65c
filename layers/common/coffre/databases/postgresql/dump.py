"""The files that PostgreSQL's own tools make of a database: its schema, and its large objects.

Rows aren't among them: the COPY pump reads those.  ``pg_dump --section=pre-data --section=post-data`` holds
the schema and the refreshes of materialized views and no data, and so the run fails if an archive holds any.
"""

from __future__ import annotations

import time
import zlib
from pathlib import Path

from coffre.databases.postgresql.archive import ArchiveEntry, archive_entries, data_entries
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.snapshot import import_snapshot
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools
from coffre.errors import BackupIncompleteError, PrivilegesMissingError

_SAMPLE = """
SELECT lo_get(oid, 0, 65536) FROM pg_largeobject_metadata ORDER BY hashint8(oid::bigint) LIMIT 16
"""
_WORTH_IT = 0.9
"""Of a sample's size: pg_dump's gzip takes 25 seconds for a GB, and most large objects are packed already."""

_COMMON = ("--format=custom", "--lock-wait-timeout=5000", "--no-password")


def dump_schema(
    tools: Tools, major: int, target: Target, snapshot: str, out: Path, *, deadline: float
) -> None:
    """Write the schema, as it is under ``snapshot``, to ``out``.

    Raises
    ------
    BackupIncompleteError
        If the archive holds data, which belongs elsewhere.
    ToolFailedError, DeadlineExceededError
    """
    without_objects = "--no-large-objects" if major >= 18 else "--no-blobs"
    sections = ("--section=pre-data", "--section=post-data")
    arguments = [*_COMMON, *sections, without_objects, f"--snapshot={snapshot}", "--compress=0"]
    tools.run("pg_dump", major, arguments, target, deadline=deadline, stdout=out)
    held = data_entries(list_entries(tools, major, out, deadline=deadline))
    if held:
        kinds = ", ".join(sorted({entry.description for entry in held}))
        raise BackupIncompleteError(f"the schema archive of {target.label} holds data: {kinds}")


def dump_large_objects(
    tools: Tools, major: int, target: Target, snapshot: str, out: Path, *, deadline: float
) -> None:
    """Write all large objects, with owners, grants and comments, to ``out``.

    Raises
    ------
    ToolFailedError, DeadlineExceededError
    """
    level = _level(target, snapshot, seconds=deadline - time.monotonic())
    # pg_toast is a schema that never holds anything of a user's, so nothing but large objects is selected.
    objects = "--large-objects" if major >= 18 else "--blobs"
    arguments = [
        *_COMMON,
        "--data-only",
        objects,
        "--schema=pg_toast",
        f"--snapshot={snapshot}",
        f"--compress={level}",
    ]
    tools.run("pg_dump", major, arguments, target, deadline=deadline, stdout=out)


def _level(target: Target, snapshot: str, *, seconds: float) -> int:
    """How hard large objects are to be compressed: not at all if a sample of them hardly shrinks."""
    with open_session(target, seconds=max(1.0, seconds)) as session:
        import_snapshot(session, snapshot)
        try:
            sample = b"".join(row[0] for row in session.run(_SAMPLE))
        except PrivilegesMissingError:
            return 1  # pg_dump will say which one can't be read
    return int(len(zlib.compress(sample, 1)) < _WORTH_IT * len(sample))


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
