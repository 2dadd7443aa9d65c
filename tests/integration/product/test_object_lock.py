"""Backups in a bucket with Object Lock, as far as an emulation can show it: which locks are asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from coffre.backup import run as backups
from coffre.backup.job import Services
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Source
from coffre.databases.postgresql.tools import Tools
from coffre.databases.registration import Registration, Retention
from coffre.errors import DeleteRefusedError
from coffre.events.backup import BackupRequest
from coffre.events.base import parse
from coffre.events.rotate import HoldRequest
from coffre.ids import utc_now
from coffre.rotate import hold
from coffre.rotate import run as rotation
from coffre.vault.layout import Layout
from coffre.vault.parts import Chunk
from coffre.vault.reader import load_manifest, read_part
from coffre.vault.safeguards import lock_finding
from coffre.vault.store import ObjectStore
from tests.support.postgres import create
from tests.support.stack import Stack, start_workers

NAME, BUCKET = "locked", "locked-vault"
LAYOUT = Layout(NAME)
TABLE = "CREATE TABLE t AS SELECT i AS id, md5(i::text) AS body FROM generate_series(1, 5000) i"
KEEP = Registration(secret="-", retention=Retention(hourly="2d", daily="30d"))


@pytest.fixture
def services(stack: Stack, postgres_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    """As the template makes them with ``ObjectLock=COMPLIANCE``."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    stack.s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    stack.s3.put_object_lock_configuration(
        Bucket=BUCKET, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    return Services(
        store=ObjectStore(stack.s3, BUCKET),
        keys=stack.seal_keys,
        catalogue=stack.catalogue,
        publisher=stack.publisher,
        tools=Tools(postgres_root),
        scratch=tmp_path,
        max_run_seconds=3600,
        start_workers=start_workers,
    )


def locks(store: ObjectStore, backup_id: str) -> dict[str, datetime]:
    """Until when each object of a backup is locked."""
    manifest, _ = load_manifest(store, NAME, backup_id)
    keys = [r.key for part in manifest.parts for r in read_part(store, part) if isinstance(r, Chunk)]
    keys += [file.key for file in (*manifest.files, *manifest.parts, *manifest.refs)]
    found = {}
    for key in (*keys, LAYOUT.manifest(backup_id)):
        info = store.head(key)
        assert info is not None
        assert info.locked_until is not None, key
        found[key] = info.locked_until
    return found


def test_a_backup_is_locked_as_long_as_its_tier_and_reuse_extends(
    stack: Stack, server16: EphemeralServer, services: Services
) -> None:
    target = create(server16, NAME, TABLE)
    store = services.store
    assert lock_finding(store).code == "object-lock"
    assert lock_finding(stack.store).code == "not-immutable"

    def take(kind: str, due: datetime) -> str:
        time = due.replace(microsecond=0).isoformat()
        request = parse(BackupRequest, {"type": kind, "scheduled_time": time, "database": NAME})
        return backups.run(request, KEEP, Source(target), services, seconds=300).backup_id

    due = utc_now()
    first, now = take("hourly", due - timedelta(minutes=1)), utc_now()
    hourly = locks(store, first)
    assert all(timedelta(days=2) - timedelta(minutes=5) <= end - now for end in hourly.values())
    assert all(end - now <= timedelta(days=3) for end in hourly.values())
    second = take("daily", due)
    daily = locks(store, second)
    assert all(end - now >= timedelta(days=30) for end in daily.values())
    shared = set(daily) & set(hourly)
    assert shared, "the chunks are the same"
    assert locks(store, first)[LAYOUT.manifest(first)] == hourly[LAYOUT.manifest(first)]

    key = LAYOUT.manifest(first)
    [version] = [v for v in store.versions(key) if not v.marker]
    with pytest.raises(DeleteRefusedError):
        store.delete_version(key, version.version)

    work = rotation.Services(store, stack.catalogue, stack.publisher, 3600)
    one = {NAME: Retention(hourly=0, daily=0, weekly=0, monthly=0, keep_last=1)}
    (report,) = rotation.run(one, work, dry_run=True, seconds=60).reports
    reasons = {d.backup_id: d.reasons for d in report.decisions}
    assert reasons[first][0] == f"locked: until {hourly[key]:%Y-%m-%d %H:%M:%S} UTC"
    assert report.immutable == "COMPLIANCE"

    request = {"action": "hold", "database": NAME, "backup_id": second, "legal": True}
    held = hold.run(parse(HoldRequest, request), work, seconds=60)
    assert held.objects == len(daily)
    assert all(info is not None and info.legal_hold for info in map(store.head, daily))
    # No lock keeps a marker: a backup that is held comes back although a rotation hid it and died.
    store.mark_deleted(LAYOUT.manifest(second))
    assert rotation.run(one, work, dry_run=False, seconds=60).failed == {}
    assert store.head(LAYOUT.manifest(second)) is not None
    released = hold.run(
        parse(HoldRequest, {"action": "release", "database": NAME, "backup_id": second}),
        replace(work, now=lambda: utc_now() + timedelta(seconds=1)),
        seconds=60,
    )
    assert (released.holds, released.objects) == ([], len(daily))
