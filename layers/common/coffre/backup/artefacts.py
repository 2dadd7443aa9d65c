"""The files of a backup that aren't chunks: schema, globals, and the part with the catalog."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from coffre.backup.job import Job, Services
from coffre.databases.postgresql.description import Description
from coffre.databases.postgresql.dump import dump_schema
from coffre.databases.postgresql.roles import globals_sql
from coffre.vault.files import FileInfo, put_file
from coffre.vault.manifest import ArchiveFile, PartFile
from coffre.vault.parts import PartWriter, Record


def write_schema(job: Job, services: Services, major: int, snapshot: str, folder: Path) -> ArchiveFile:
    """Write the schema.

    Parameters
    ----------
    major:
        The version of the tools that fit the server.
    snapshot:
        The snapshot under which they read.
    folder:
        Scratch space of this run.
    """
    schema = folder / "schema.pgdump"
    dump_schema(
        services.tools,
        major,
        job.target,
        snapshot,
        schema,
        deadline=time.monotonic() + max(1.0, job.seconds_left),
        lock_seconds=job.lock_seconds,
    )
    return _archive("schema", put_file(services.store, schema, f"{job.prefix}schema-{{sha256}}.pgdump"))


def write_globals(job: Job, services: Services, source: Description, folder: Path) -> ArchiveFile:
    """Write roles and the database's own properties as SQL, for people."""
    roles = folder / "globals.sql"
    roles.write_text(
        globals_sql(source.roles, source.database, source.engine.database), "utf-8", "surrogateescape"
    )
    return _archive("globals", put_file(services.store, roles, f"{job.prefix}globals-{{sha256}}.sql"))


def write_catalog_part(job: Job, services: Services, source: Description, folder: Path) -> PartFile:
    """Write the part of what has no chunks: roles, the database's own properties, rights, sequences, and what
    large objects there are."""
    path = folder / "catalog.ndjson.zst"
    with path.open("wb") as file:
        part = PartWriter(file)
        records: list[Record] = [
            *source.roles,
            source.database,
            *source.described,
            *source.large_objects,
            *source.inventory.sequences,
        ]
        for record in records:
            part.write(record)
        part.close()
    stored = put_file(services.store, path, f"{job.prefix}parts/0-{{sha256}}.ndjson.zst")
    return PartFile(**asdict(stored), bytes=part.bytes, relations=part.relations, chunks=part.chunks)


def _archive(role: str, stored: FileInfo) -> ArchiveFile:
    return ArchiveFile.model_validate({**asdict(stored), "role": role})
