"""A health report says of real servers what is wrong with them, and one bad database hides no other."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from coffre.catalogue.entries import BackupEntry, RestoreEntry
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.databases.registration import Registration
from coffre.errors import InvalidRegistrationError, SecretNotFoundError, UnknownDatabaseError
from coffre.events.health import HealthRequest
from coffre.health import examine, run
from coffre.results import Finding, HealthReport
from coffre.vault.keys import SealKeys
from tests.fakes.kms import KEY, OTHER_KEY, MemoryKms
from tests.fakes.store import MemoryStore
from tests.support.waiting import soon

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SHOP = Registration(secret="shop", critical_tables=["orders", "sales.invoices"])
SCHEMA = """
CREATE TABLE public.orders (id int PRIMARY KEY, day date);
CREATE SCHEMA sales;
CREATE TABLE sales.invoices (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE sales.invoices_2026 PARTITION OF sales.invoices FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE ROLE clerk LOGIN;
"""


@dataclass
class FakeRegistry:
    """Registrations and targets in memory; a text stands for a registration that isn't valid."""

    entries: dict[str, Registration | str]
    targets: dict[str, Target]

    def names(self) -> list[str]:
        return sorted(self.entries)

    def get(self, name: str) -> Registration:
        entry = self.entries.get(name)
        if entry is None:
            raise UnknownDatabaseError(f"no database {name} is registered")
        if isinstance(entry, str):
            raise InvalidRegistrationError(entry)
        return entry

    def target(self, registration: Registration) -> Target:
        if registration.secret not in self.targets:
            raise SecretNotFoundError(f"secret {registration.secret}: ResourceNotFoundException")
        return self.targets[registration.secret]


@dataclass
class FakeCatalogue:
    """Backups by database, newest first, and which ones were asked for."""

    known: dict[str, list[BackupEntry]]
    asked: list[str] = field(default_factory=list)

    def backups(self, database: str, *, status: str) -> Iterator[BackupEntry]:
        self.asked.append(database)
        return (entry for entry in self.known.get(database, []) if entry.status == status)

    def restores(self, database: str) -> Iterator[RestoreEntry]:
        del database
        return iter(())


@dataclass
class FakePublisher:
    """Keeps what is published."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def publish(self, detail_type: str, detail: dict[str, Any]) -> None:
        self.events.append((detail_type, detail))


def backup(hours: float, *, proven: bool = True) -> BackupEntry:
    """A backup that began so many hours ago."""
    began = NOW - timedelta(hours=hours)
    identifier = f"{began:%Y%m%dT%H%M%SZ}-daily-1f09ab"
    verdict = "proven" if proven else None
    return BackupEntry(
        "shop", identifier, "daily", "completed", started=began.isoformat(), verdict=cast(Any, verdict)
    )


@pytest.fixture(scope="module")
def server(postgres_root: Path, scratch_root: Path) -> Iterator[Target]:
    """A server with the shop's database."""
    settings = {"max_prepared_transactions": "2", "wal_level": "logical", "max_replication_slots": "2"}
    with EphemeralServer.start(postgres_root, 18, scratch_root, settings=settings) as started:
        target = Target(str(started.socket_dir), started.port, started.superuser, "postgres")
        with open_session(target, seconds=60) as session:
            session.run("CREATE DATABASE shop")
        shop = replace(target, database="shop")
        with open_session(shop, seconds=60) as session:
            for statement in filter(str.strip, SCHEMA.split(";")):
                session.run(statement)
        yield shop


@pytest.fixture
def services(server: Target) -> run.Services:
    """A stack with one healthy database."""
    return run.Services(
        registry=cast(Any, FakeRegistry({"shop": SHOP}, {"shop": server})),
        keys=SealKeys(lambda _: MemoryKms()),
        catalogue=cast(Any, FakeCatalogue({"shop": [backup(2)]})),
        publisher=cast(Any, FakePublisher()),
        stack="test",
        rpo_hours=26,
        now=lambda: NOW,
    )


def report(services: run.Services, name: str = "shop", seconds: float = 100) -> HealthReport:
    """The report on one database, out of the report on all."""
    result = run.run(HealthRequest(), services, seconds=seconds)
    return next(entry for entry in result.databases if entry.database == name)


def codes(found: HealthReport) -> list[str]:
    return [reason.code for reason in found.reasons]


def registry(services: run.Services) -> FakeRegistry:
    return cast(FakeRegistry, services.registry)


def test_a_healthy_database_is_reported_with_all_its_facts(services: run.Services) -> None:
    found = report(services)
    assert (found.score, codes(found), found.reachable) == (100, [], True)
    assert found.server_version.startswith("18.")
    assert found.size_bytes is not None
    assert found.size_bytes > 1_000_000
    assert found.tables == 2  # a partition is not a table of its own
    assert found.newest_backup == found.newest_proof == "20261120T100000Z-daily-1f09ab"
    assert found.backup_age_seconds == found.proof_age_seconds == 7200


def test_each_report_is_published_and_measured(
    services: run.Services, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(services)
    events = cast(FakePublisher, services.publisher).events
    assert events == [("Health Reported", found.model_dump(mode="json"))]
    own, worst, alarm = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (own["Stack"], own["Database"], own["HealthScore"]) == ("test", "shop", [100.0])
    assert "Database" not in worst
    assert worst["BackupAgeSeconds"] == [7200.0]
    assert alarm["AlarmTest"] == [0.0], "raised on the first of the month only"


def test_a_report_on_one_database_does_not_speak_for_the_stack(
    services: run.Services, capsys: pytest.CaptureFixture[str]
) -> None:
    registry(services).entries["gone"] = SHOP
    result = run.run(HealthRequest(database="shop"), services, seconds=100)
    assert [entry.database for entry in result.databases] == ["shop"]
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["Database"] == "shop"


def test_an_unknown_database_is_refused(services: run.Services) -> None:
    with pytest.raises(UnknownDatabaseError):
        run.run(HealthRequest(database="nobody"), services, seconds=100)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"user": "nobody"}, "authentication-refused"),
        ({"database": "nothing"}, "database-missing"),
        ({"host": "/nowhere"}, "source-unreachable"),
        ({"host": "ep-cool-name-pooler.eu-central-1.aws.neon.tech"}, "pooler-refused"),
    ],
)
def test_a_database_that_cannot_be_entered_says_why_and_hides_no_other(
    services: run.Services, server: Target, change: dict[str, str], code: str
) -> None:
    registry(services).entries["bad"] = Registration(secret="bad")
    registry(services).targets["bad"] = replace(server, **cast(Any, change))
    found = report(services, "bad")
    assert not found.reachable
    assert code in codes(found)
    assert found.score < 30
    assert report(services, "shop").score == 100


def test_a_wrong_password_says_so(services: run.Services) -> None:
    """A server of its own would trust its socket, so this one only speaks the first words of the protocol."""
    error = b"SFATAL\x00C28P01\x00Mpassword authentication failed\x00\x00"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"E" + (len(error) + 4).to_bytes(4, "big") + error)

        thread = threading.Thread(target=refuse)
        thread.start()
        place = Target("127.0.0.1", listener.getsockname()[1], "u", "shop", password="x", sslmode="disable")
        registry(services).targets["shop"] = place
        found = report(services)
        thread.join()
    assert "authentication-refused" in codes(found)


def test_a_silent_server_costs_the_others_nothing(
    services: run.Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "wait", partial(wait, return_when=FIRST_COMPLETED))  # then the time is over
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = Target("127.0.0.1", listener.getsockname()[1], "u", "db", sslmode="disable")
        registry(services).entries["silent"] = Registration(secret="silent")
        registry(services).targets["silent"] = place
        result = run.run(HealthRequest(), services, seconds=100)
    healthy, silent = sorted(result.databases, key=lambda entry: entry.database)
    assert (healthy.score, silent.reachable) == (100, False)
    assert "deadline-exceeded" in codes(silent)


def test_a_server_that_falls_silent_between_questions_is_left(
    services: run.Services, server: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine, "DATABASE_SECONDS", 0.5)
    monkeypatch.setattr(examine, "_TABLES", "SELECT pg_sleep(10)")
    found = report(services)
    assert not found.reachable
    assert "connection-lost" in codes(found)
    with open_session(server, seconds=60) as other:
        mine = "application_name = 'coffre/health'"
        other.run(f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {mine}")


def test_a_question_that_the_server_refuses_leaves_the_others_answered(
    services: run.Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine, "_SLOTS", "SELECT 1/0")
    found = report(services)
    assert found.reachable
    assert (found.score, codes(found)) == (90, ["question-unanswered"])
    assert found.tables == 2


@pytest.mark.parametrize("entry", ["the registration of odd is not JSON", Registration(secret="none")])
def test_a_broken_registration_or_secret_is_a_reason(
    services: run.Services, entry: Registration | str
) -> None:
    registry(services).entries["odd"] = entry
    found = report(services, "odd")
    assert codes(found)[0] == ("invalid-registration" if isinstance(entry, str) else "secret-unreadable")
    assert report(services, "shop").score == 100


@pytest.mark.parametrize("name", ["gone", "sales.gone", "gone.gone", "a.b.c.d", "not a name"])
def test_a_missing_critical_table_is_named(services: run.Services, name: str) -> None:
    registry(services).entries["shop"] = SHOP.model_copy(update={"critical_tables": ["orders", name]})
    found = report(services)
    assert codes(found) == ["critical-table-missing"]
    assert name in found.reasons[0].object
    assert "orders" not in found.reasons[0].object


def test_a_critical_table_that_the_role_cannot_read_is_named(services: run.Services, server: Target) -> None:
    registry(services).targets["shop"] = replace(server, user="clerk")
    found = report(services)
    assert "critical-table-unreadable" in codes(found)
    assert "transactions-unseen" in codes(found)
    assert found.reasons[0].object == "orders, sales.invoices"


def test_a_missed_rpo_counts_from_when_the_backup_began(services: run.Services) -> None:
    late = replace(services, catalogue=cast(Any, FakeCatalogue({"shop": [backup(26.1, proven=False)]})))
    found = report(late)
    assert codes(found) == ["backup-overdue", "proof-missing"]
    assert (found.score, found.newest_proof) == (20, None)
    in_time = replace(services, catalogue=cast(Any, FakeCatalogue({"shop": [backup(25.9)]})))
    assert report(in_time).score == 100


def test_a_sample_is_told_and_is_no_proof(services: run.Services) -> None:
    message = "sampled 3 of 7 tables, 41.2 %"
    reason = Finding(level="warn", code="sampled", object="b", message=message)
    sampled = replace(backup(2), verdict="inconclusive", reasons=(reason,))
    found = report(replace(services, catalogue=cast(Any, FakeCatalogue({"shop": [sampled]}))))
    assert (found.newest_proof, found.newest_sample) == (None, sampled.backup_id)
    told = next(finding for finding in found.reasons if finding.code == "proof-sampled")
    assert message in told.message


def test_the_newest_proof_may_be_older_than_the_newest_backup(services: run.Services) -> None:
    entries = [backup(1, proven=False), backup(40)]
    found = report(replace(services, catalogue=cast(Any, FakeCatalogue({"shop": entries}))))
    assert codes(found) == ["proof-overdue"]
    assert (found.backup_age_seconds, found.proof_age_seconds) == (3600, 40 * 3600)


def failed(hours: float) -> BackupEntry:
    """A backup that began so many hours ago, and of which a chunk is damaged."""
    damaged = Finding(level="refuse", code="object-corrupt", object="ab", message="chunk ab is damaged")
    return replace(backup(hours), verdict="failed", reasons=(damaged,))


def test_backups_that_are_known_to_be_bad_raise_the_alarm_and_count_for_no_rpo(
    services: run.Services,
) -> None:
    """Proofs fail since ten o'clock; the last backup that can be restored is of nine."""
    entries = [backup(0.2, proven=False), failed(1), failed(2), backup(3)]
    found = report(replace(services, catalogue=cast(Any, FakeCatalogue({"shop": entries}))))
    assert (found.score, codes(found)) == (45, ["proof-failed", "backups-failed"])
    assert entries[1].backup_id in found.reasons[0].message
    assert "chunk ab is damaged" in found.reasons[0].message
    assert found.newest_backup == entries[0].backup_id, "nothing is known of it yet"
    found = report(replace(services, catalogue=cast(Any, FakeCatalogue({"shop": entries[1:]}))))
    assert (found.newest_backup, found.backup_age_seconds) == (entries[3].backup_id, 3 * 3600)
    assert found.reasons[1].count == 1


def test_damage_that_was_found_in_older_backups_is_told(services: run.Services) -> None:
    entries = [backup(1), failed(30), backup(40), failed(50)]
    found = report(replace(services, catalogue=cast(Any, FakeCatalogue({"shop": entries}))))
    assert (found.score, codes(found), found.reasons[0].count) == (90, ["backups-failed"], 2)


def test_a_report_reads_a_database_s_backups_once(services: run.Services) -> None:
    """There may be years of them, deleted ones included, and a report each quarter of an hour."""
    catalogue = FakeCatalogue({"shop": [backup(1, proven=False)]})
    report(replace(services, catalogue=cast(Any, catalogue), copy_bucket="copy"))
    assert catalogue.asked == ["shop"]


@pytest.mark.parametrize(("prove", "hours"), [("every", 26), ("daily", 50), ("never", None)])
def test_a_report_says_how_old_a_proof_may_be(
    services: run.Services, prove: str, hours: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    registry(services).entries["shop"] = SHOP.model_copy(update={"prove": prove})
    found = report(replace(services, catalogue=cast(Any, FakeCatalogue({"shop": [backup(13)]}))))
    assert (found.rpo_hours, found.proof_hours) == (26, hours)
    worst = json.loads(capsys.readouterr().out.splitlines()[1])
    assert worst["BackupAgePercent"] == [50]
    assert worst["ProofAgePercent"] == [pytest.approx(1300 / hours if hours else 0)]


def test_an_empty_catalogue_is_no_backup(services: run.Services) -> None:
    found = report(replace(services, catalogue=cast(Any, FakeCatalogue({}))))
    assert codes(found) == ["backup-missing", "proof-missing"]
    assert found.backup_age_seconds is None


def test_an_open_transaction_is_seen(server: Target) -> None:
    with open_session(server, seconds=60) as other:
        other.run("BEGIN")
        began = other.value("SELECT extract(epoch FROM now())::float8")
        facts = examine.examine(server, [])
        now = other.value("SELECT extract(epoch FROM clock_timestamp())::float8")
        other.run("ROLLBACK")
    assert facts.longest_transaction is not None
    assert 0 < facts.longest_transaction <= now - began
    soon(lambda: examine.examine(server, []).longest_transaction == 0, "its end")


def test_a_transaction_that_was_prepared_and_forgotten_is_seen(server: Target) -> None:
    with open_session(server, seconds=60) as other:
        other.run("BEGIN")
        other.run("PREPARE TRANSACTION 'forgotten'")
        facts = examine.examine(server, [])
        other.run("ROLLBACK PREPARED 'forgotten'")
    assert facts.longest_transaction


def test_an_unused_slot_and_the_wal_kept_for_it_are_seen(server: Target) -> None:
    with open_session(server, seconds=60) as other:
        other.run("SELECT pg_create_physical_replication_slot('unused', true)")
        before = other.value("SELECT restart_lsn::text FROM pg_replication_slots")
        other.run("CREATE TABLE public.noise AS SELECT generate_series(1, 10000)")
        (slot,) = examine.examine(server, []).idle_slots
        behind = other.value("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), :lsn)::int8", lsn=before)
        other.run("SELECT pg_drop_replication_slot('unused')")
        other.run("DROP TABLE public.noise")
    assert slot.name == "unused"
    assert 10_000 < slot.retained_bytes <= behind


def test_connections_and_transaction_ids_are_counted(server: Target) -> None:
    """A session counts until the server has noticed its end."""
    soon(lambda: examine.examine(server, []).connections == 1, "nobody else")
    with open_session(server, seconds=60), open_session(replace(server, database="postgres"), seconds=60):
        soon(lambda: examine.examine(server, []).connections == 3, "two others")
    facts = examine.examine(server, [])
    assert facts.max_connections
    assert facts.transaction_age
    assert facts.oldest_database


def test_each_key_that_backups_are_sealed_with_is_tried(services: run.Services) -> None:
    kms, store = MemoryKms(), MemoryStore()
    keys = SealKeys(lambda _: kms)
    seals = [keys.for_backup(store, "shop", key, NOW).key for key in (KEY, OTHER_KEY)]
    old, new = (seal.model_dump_json(by_alias=True) for seal in seals if seal is not None)
    entries = [replace(backup(age), seal=seal) for age, seal in ((2, new), (30, old), (31, old))]
    sealed = replace(services, keys=keys, catalogue=cast(Any, FakeCatalogue({"shop": entries})))
    assert (report(sealed).score, codes(report(sealed))) == (100, [])
    kms.refusals[KEY] = "KMSInvalidStateException"
    found = report(sealed)
    assert (found.score, codes(found)) == (40, ["seal-key-unavailable"])
    reason = found.reasons[0]
    assert (reason.object, reason.count) == (KEY, 2)
    assert "will be deleted on 2026-12-24" in reason.message
    kms.refusals[OTHER_KEY] = "DisabledException"
    assert (report(sealed).score, codes(report(sealed))) == (40, ["seal-key-unavailable"] * 2)
    kms.refusals = dict.fromkeys((KEY, OTHER_KEY), "KMSInternalException")
    assert (report(sealed).score, codes(report(sealed))) == (90, ["key-service-unavailable"] * 2)
