"""An upgrade is rehearsed on the next major version: ready, or the objects that stand in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from coffre.databases.postgresql import compare
from coffre.databases.postgresql.readback import CompareTask
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.registration import Registration
from coffre.errors import NoUpgradeError
from coffre.vault.evidence import newest_evidence
from coffre.vault.rehearsals import kept_rehearsals
from coffre.workers import Message
from tests.integration.proof.conftest import Bench
from tests.support.postgres import customer_server, sql, target
from tests.support.vault import ServedStore, Verbs

FINE = """
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL, kind "char");
INSERT INTO t (body) SELECT repeat('x', n) FROM generate_series(1, 50) n;
GRANT SELECT ON t TO pg_monitor; COMMENT ON TABLE t IS 'fine';
"""


def test_a_database_that_restores_on_the_next_major_is_upgrade_ready(bench: Bench) -> None:
    bench.back_up(FINE)
    proof = bench.prove(upgrade_to=18)
    assert (proof.verdict, proof.reasons) == ("proven", [])
    assert proof.upgrade is not None
    assert (proof.upgrade.verdict, proof.upgrade.server_version) == ("upgrade-ready", "PostgreSQL 18")
    assert [reason.level for reason in proof.upgrade.reasons if reason.level != "info"] == []
    assert proof.upgrade.compared.rows == 50


def test_what_stands_in_the_way_is_named_and_the_backup_stays_proven(bench: Bench) -> None:
    bench.back_up(
        FINE,
        """CREATE FUNCTION old(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
            IF current_setting('server_version_num')::int >= 170000 THEN RAISE 'gone in 17'; END IF;
            RETURN $1; END $$;
        CREATE INDEX by_old ON t (old(body))""",
    )
    proof = bench.prove(upgrade_to=18)
    assert (proof.verdict, proof.reasons) == ("proven", [])
    assert proof.upgrade is not None
    assert proof.upgrade.verdict == "upgrade-blocked"
    blocking = [reason for reason in proof.upgrade.reasons if reason.code == "exception-index"]
    assert "by_old" in blocking[0].object
    assert "gone in 17" in blocking[0].message


def test_text_that_a_new_major_writes_otherwise_is_noted_by_type(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No type's text differs between 16 and 18, so the newer one is made to differ."""
    bench.back_up("CREATE TABLE k (id int); INSERT INTO k VALUES (1)")
    monkeypatch.setattr(compare, "TEXT_CHANGED", {"integer": 18})
    read = CompareTask.run

    def written_otherwise(task: CompareTask, item: Message) -> Message:
        answer = read(task, item)
        return {**answer, "digest": "0" * 32} if task._session.major == 18 else answer

    monkeypatch.setattr(CompareTask, "run", written_otherwise)
    proof = bench.prove(upgrade_to=18)
    assert (proof.verdict, proof.reasons) == ("proven", [])
    assert proof.upgrade is not None
    assert proof.upgrade.verdict == "upgrade-ready"
    (noted,) = proof.upgrade.reasons
    assert (noted.level, noted.code, noted.object) == ("info", "text-changed", "public.k")
    assert "integer" in noted.message


def test_text_that_changed_since_version_14_is_noted_and_no_damage(
    verbs: Verbs, postgres_root: Path, scratch_root: Path
) -> None:
    """The bytes of a "char" above 127 are written as octal digits from 15 on."""
    letter = 'chr(233)::"char"'
    with customer_server(postgres_root, 14, scratch_root) as server:
        sql(
            target(server, "postgres"),
            "CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'",
        )
        latin = target(server, "latin")
        sql(
            latin,
            f"CREATE TABLE one AS SELECT {letter} AS v",
            f"CREATE TABLE many AS SELECT ARRAY[{letter}] AS v",
        )
        verbs.backup(latin)
    proof = verbs.verify(upgrade_to=15)
    assert (proof.verdict, proof.reasons) == ("proven", [])
    assert proof.upgrade is not None
    assert proof.upgrade.verdict == "upgrade-ready"
    assert sorted((reason.code, reason.object) for reason in proof.upgrade.reasons) == [
        ("text-changed", "public.many"),
        ("text-changed", "public.one"),
    ]


def test_a_major_that_is_not_installed_is_a_need(
    server: EphemeralServer, postgres_root: Path, scratch_root: Path, tmp_path: Path
) -> None:
    """A box with the servers of two majors only, as that of another deployment."""
    (tmp_path / "postgres").symlink_to(postgres_root)
    (tmp_path / "proof").mkdir()
    for major in (16, 18):
        (tmp_path / "proof" / str(major)).symlink_to(postgres_root.parent / "proof" / str(major))
    with ServedStore() as store:
        bench = Bench(server, store, Verbs(store, tmp_path / "postgres", scratch_root))
        bench.back_up("CREATE TABLE one (id int)")
        proof = bench.prove(upgrade_to=17)
    assert proof.upgrade is not None
    assert (proof.upgrade.verdict, proof.upgrade.reasons[0].object) == ("inconclusive", "server:17")
    assert "16, 18" in proof.upgrade.reasons[0].message


def test_a_rehearsal_is_kept_where_the_verdict_stands_and_counts_as_no_proof(bench: Bench) -> None:
    bench.back_up(FINE)
    first = bench.prove()
    second = bench.prove(Registration(secret="none", prove="never"), upgrade_to=18)
    assert (second.verdict, second.evidence) == ("inconclusive", first.evidence), "the first verdict stands"
    assert second.upgrade is not None
    (kept,) = kept_rehearsals(bench.store, "shop")
    assert kept.upgrade == second.upgrade
    assert (kept.backup_id, kept.root_hash) == (first.backup_id, first.root_hash)
    assert (kept.upgrade.verdict, kept.upgrade.from_version, kept.upgrade.major) == (
        "upgrade-ready",
        bench.verbs.manifest().engine.server_version,
        18,
    )
    assert kept.upgrade.evidence in bench.store.keys("shop/upgrades/")
    assert newest_evidence(bench.store, "shop", first.backup_id, first.root_hash) == first


def test_the_same_or_an_older_major_is_no_upgrade(bench: Bench) -> None:
    bench.back_up("CREATE TABLE one (id int)")
    with pytest.raises(NoUpgradeError, match="no upgrade"):
        bench.prove(upgrade_to=16)
