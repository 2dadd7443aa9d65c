"""The catalogue: statuses never go back, one holds the lease, and the bucket alone makes it again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from coffre.catalogue.index import Catalogue
from coffre.catalogue.rebuild import rebuild
from coffre.catalogue.standing import Standing, read_standing
from coffre.errors import CatalogueUnavailableError, LeaseHeldError
from coffre.results import Finding
from coffre.vault.layout import Layout
from coffre.vault.rehearsals import keep_rehearsal
from tests.fakes.dynamodb import MemoryDynamo
from tests.fakes.store import START, MemoryStore
from tests.fakes.tables import TABLE, create_table, dynamodb
from tests.fakes.vault import DATABASE, SAMPLE, make_rehearsal, put_backup, put_evidence

FIRST, SECOND = "20261119T030000Z-daily-aaaaaa", "20261120T030000Z-hourly-bbbbbb"


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(params=["moto", "memory"])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """DynamoDB: moto's, and the fake of the fault harness, which must not differ from it."""
    if request.param == "memory":
        yield MemoryDynamo()
        return
    with mock_aws():
        yield dynamodb()


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


@pytest.fixture
def catalogue(client: Any, clock: Clock) -> Catalogue:
    """An empty catalogue."""
    return Catalogue(client, create_table(client), clock)


def status(catalogue: Catalogue, backup_id: str = FIRST) -> str:
    entry = catalogue.backup(DATABASE, backup_id)
    assert entry is not None
    return entry.status


def standing(catalogue: Catalogue) -> Standing:
    return read_standing(catalogue.backups(DATABASE, status="completed"))


def test_a_backup_goes_from_begin_to_a_verdict(catalogue: Catalogue) -> None:
    manifest, root = put_backup(store := MemoryStore(), FIRST, [b"rows\n"])
    assert catalogue.begin(DATABASE, FIRST, "daily", START, "why")
    assert catalogue.progress(DATABASE, FIRST, rows=5, done=10, total=20)
    entry = catalogue.backup(DATABASE, FIRST)
    assert entry is not None
    assert (entry.status, entry.rows, entry.done, entry.total) == ("in_progress", 5, 10, 20)
    assert catalogue.complete(manifest, root)
    assert catalogue.verdict(put_evidence(store, manifest, root, "proven"))
    entry = standing(catalogue).proven
    assert entry is not None
    assert (entry.backup_id, entry.status, entry.root_hash, entry.rows) == (FIRST, "completed", root, 1)


def test_a_late_or_doubled_write_takes_no_backup_back(catalogue: Catalogue, clock: Clock) -> None:
    """B10: doubled and disordered events are normal."""
    manifest, root = put_backup(MemoryStore(), FIRST, [b"rows\n"])
    clock.now += timedelta(hours=1)
    assert catalogue.complete(manifest, root)
    assert not catalogue.begin(DATABASE, FIRST, "daily", START)
    assert not catalogue.progress(DATABASE, FIRST, rows=1, done=1, total=1)
    assert not catalogue.fail(DATABASE, FIRST, "internal", "late")
    assert catalogue.complete(manifest, root)
    assert status(catalogue) == "completed"
    assert catalogue.delete(DATABASE, FIRST)
    assert not catalogue.complete(manifest, root)
    assert not catalogue.progress(DATABASE, FIRST, rows=1, done=1, total=1)
    assert not catalogue.fail(DATABASE, FIRST, "internal", "late")
    assert status(catalogue) == "deleted"


def test_a_deletion_can_be_taken_back_and_nothing_else(catalogue: Catalogue) -> None:
    manifest, root = put_backup(store := MemoryStore(), FIRST, [b"rows\n"])
    assert not catalogue.undelete(DATABASE, FIRST), "the backup isn't known"
    assert catalogue.begin(DATABASE, FIRST, "daily", START)
    assert not catalogue.undelete(DATABASE, FIRST)
    assert status(catalogue) == "in_progress"
    assert catalogue.complete(manifest, root)
    assert catalogue.verdict(put_evidence(store, manifest, root, "proven"))
    before = catalogue.backup(DATABASE, FIRST)
    assert catalogue.delete(DATABASE, FIRST)
    assert catalogue.undelete(DATABASE, FIRST)
    assert catalogue.backup(DATABASE, FIRST) == before
    assert catalogue.complete(manifest, root), "a rebuild enters it again"


def test_a_failed_backup_can_be_tried_again(catalogue: Catalogue) -> None:
    assert catalogue.fail(DATABASE, FIRST, "disk-full", "the disk is full")
    entry = catalogue.backup(DATABASE, FIRST)
    assert entry is not None
    assert (entry.type, entry.error_code) == ("daily", "disk-full")
    assert catalogue.begin(DATABASE, FIRST, "daily", START)
    entry = catalogue.backup(DATABASE, FIRST)
    assert entry is not None
    assert (entry.status, entry.error_code) == ("in_progress", None)


def test_a_verdict_belongs_to_one_root_hash_and_the_newest_counts(catalogue: Catalogue) -> None:
    store = MemoryStore()
    manifest, root = put_backup(store, FIRST, [b"rows\n"])
    proven = put_evidence(store, manifest, root, "proven", START)
    assert not catalogue.verdict(proven), "the backup isn't known yet"
    catalogue.complete(manifest, root)
    failed = put_evidence(store, manifest, root, "failed", START + timedelta(hours=1))
    assert catalogue.verdict(failed)
    assert not catalogue.verdict(proven)
    assert not catalogue.verdict(failed.model_copy(update={"root_hash": "0" * 64}))
    entry = catalogue.backup(DATABASE, FIRST)
    assert entry is not None
    assert entry.verdict == "failed"
    catalogue.complete(manifest, "1" * 64)
    entry = catalogue.backup(DATABASE, FIRST)
    assert entry is not None
    assert entry.verdict is None


def test_a_sample_is_no_proof_and_says_how_much_it_was(catalogue: Catalogue) -> None:
    store = MemoryStore()
    for backup_id, sample in ((FIRST, SAMPLE), (SECOND, None)):
        manifest, root = put_backup(store, backup_id, [b"rows\n"])
        catalogue.complete(manifest, root)
        catalogue.verdict(put_evidence(store, manifest, root, "inconclusive", sample=sample))
    assert standing(catalogue).proven is None
    sampled = standing(catalogue).sampled
    assert sampled is not None
    assert (sampled.backup_id, sampled.sampled) == (FIRST, "sampled 3 of 7 tables, 41.2 %")
    catalogue.verdict(put_evidence(store, manifest, root, "proven"))
    assert standing(catalogue).sampled is None, "a newer one is proven"


def test_backups_are_listed_newest_first_by_type_and_status(catalogue: Catalogue) -> None:
    catalogue.complete(*put_backup(MemoryStore(), FIRST, [b"rows\n"]))
    catalogue.begin(DATABASE, SECOND, "hourly", START)
    catalogue.begin("shop-prod", SECOND, "hourly", START)
    assert [e.backup_id for e in catalogue.backups(DATABASE)] == [SECOND, FIRST]
    assert [e.backup_id for e in catalogue.backups(DATABASE, kind="daily")] == [FIRST]
    assert [e.backup_id for e in catalogue.backups(DATABASE, status="in_progress")] == [SECOND]
    newest = standing(catalogue).newest
    assert newest is not None
    assert newest.backup_id == FIRST


def test_one_run_at_a_time_holds_the_lease(catalogue: Catalogue, clock: Clock) -> None:
    catalogue.acquire(DATABASE, "one", START + timedelta(hours=1))
    catalogue.acquire(DATABASE, "one", START + timedelta(hours=1))
    catalogue.acquire("other", "two", START + timedelta(hours=1))
    with pytest.raises(LeaseHeldError, match="run one works on shop until 2026-11-20T04:00"):
        catalogue.acquire(DATABASE, "two", START + timedelta(hours=2))
    assert not catalogue.release(DATABASE, "two")
    assert catalogue.release(DATABASE, "one")
    catalogue.acquire(DATABASE, "two", START + timedelta(hours=2))
    clock.now += timedelta(hours=2)
    catalogue.acquire(DATABASE, "three", clock.now + timedelta(hours=1))


def test_a_run_is_live_until_it_ends_or_its_deadline(catalogue: Catalogue, clock: Clock) -> None:
    catalogue.start_run(DATABASE, "backup", "a", START + timedelta(hours=1))
    catalogue.start_run(DATABASE, "verify", "b", START + timedelta(hours=3))
    assert catalogue.end_run(DATABASE, "a")
    assert not catalogue.end_run(DATABASE, "unknown")
    assert [run.run_id for run in catalogue.live_runs(DATABASE)] == ["b"]
    clock.now += timedelta(hours=3)
    assert list(catalogue.live_runs(DATABASE)) == []


def test_the_audit_trail_is_newest_first(catalogue: Catalogue, clock: Clock) -> None:
    catalogue.audit(DATABASE, "delete", FIRST, {"reasons": "superseded"})
    clock.now += timedelta(seconds=1)
    catalogue.audit(DATABASE, "restore", SECOND)
    assert [(e.action, e.subject) for e in catalogue.audits(DATABASE)] == [
        ("restore", SECOND),
        ("delete", FIRST),
    ]


def test_the_index_is_the_same_after_its_table_was_lost(client: Any, catalogue: Catalogue) -> None:
    store = MemoryStore()
    for database, backup_id in ((DATABASE, FIRST), (DATABASE, SECOND), ("other", FIRST)):
        manifest, root = put_backup(store, backup_id, [b"rows\n", b"more\n"], database=database)
        catalogue.begin(database, backup_id, manifest.type, START)
        catalogue.complete(manifest, root)
        if backup_id == FIRST:
            catalogue.verdict(put_evidence(store, manifest, root, "proven"))
    store.put("_tickets/x", b"")
    before = [list(catalogue.backups(database)) for database in (DATABASE, "other")]
    client.delete_table(TableName=TABLE)
    create_table(client)
    counts = rebuild(store, catalogue)
    assert [list(catalogue.backups(database)) for database in (DATABASE, "other")] == before
    assert (counts.databases, counts.completed, counts.verified, counts.invalid, counts.gone) == (
        2,
        3,
        2,
        0,
        0,
    )
    assert rebuild(store, catalogue, [DATABASE]).completed == 2
    assert [list(catalogue.backups(database)) for database in (DATABASE, "other")] == before


def test_a_rebuild_finds_the_rehearsals_of_upgrades_again_and_changes_none(catalogue: Catalogue) -> None:
    store = MemoryStore()
    put_backup(store, FIRST, [b"rows\n"])
    sealed = make_rehearsal(FIRST, "2026-11-19T04:00:00.000000Z", "upgrade-blocked")
    keep_rehearsal(store, sealed)
    keep_rehearsal(store, make_rehearsal(SECOND, "2026-11-20T04:00:00.000000Z", "upgrade-ready"))
    told = sealed.upgrade.model_copy(update={"reasons": [*sealed.upgrade.reasons, *sealed.upgrade.reasons]})
    assert catalogue.record_rehearsal(sealed.model_copy(update={"upgrade": told}))
    rebuild(store, catalogue, [DATABASE])
    rebuild(store, catalogue, [DATABASE])
    newest, oldest = catalogue.rehearsals(DATABASE)
    assert (newest.backup_id, newest.verdict) == (SECOND, "upgrade-ready"), (
        "its backup needn't exist any more"
    )
    assert (oldest.from_version, oldest.major, oldest.reasons) == ("16.14", 18, tuple(told.reasons))
    entry = catalogue.backup(DATABASE, FIRST)
    assert entry is not None
    assert entry.verdict is None


def test_a_rebuild_enters_evidence_with_more_findings_than_an_item_holds(catalogue: Catalogue) -> None:
    store = MemoryStore()
    manifest, root = put_backup(store, FIRST, [b"rows\n"])
    one = Finding(level="refuse", code="content-differs", object="public.t", message="it differs " * 20)
    put_evidence(store, manifest, root, "failed", START, reasons=[one] * 5000)
    rebuild(store, catalogue, [DATABASE])
    entry = catalogue.backup(DATABASE, FIRST)
    assert entry is not None
    assert (entry.verdict, entry.reasons[-1].code) == ("failed", "more")


def test_a_rebuild_names_what_is_broken_and_what_is_gone(catalogue: Catalogue) -> None:
    """B05."""
    store = MemoryStore()
    put_backup(store, FIRST, [b"rows\n"])
    store.tamper(Layout(DATABASE).manifest(FIRST), lambda body: body[:100])
    catalogue.complete(*put_backup(MemoryStore(), SECOND, [b"rows\n"]))
    counts = rebuild(store, catalogue, [DATABASE])
    assert (counts.completed, counts.invalid, counts.gone) == (0, 1, 1)
    entry = catalogue.backup(DATABASE, FIRST)
    assert entry is not None
    assert (entry.status, entry.error_code) == ("failed", "manifest-invalid")
    assert status(catalogue, SECOND) == "deleted"


def test_the_tables_errors_are_translated() -> None:
    client = boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(client) as stub:
        stub.add_client_error("get_item", "ProvisionedThroughputExceededException")
        with pytest.raises(CatalogueUnavailableError, match="ProvisionedThroughputExceeded"):
            Catalogue(client, TABLE).backup(DATABASE, FIRST)
