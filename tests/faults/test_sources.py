"""Sources that are odd or broken: what comes back is what was there, or nothing is called a backup.

Each test names its cases in `docs/faults.md`.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from coffre.databases.postgresql import preflight
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.recheck import recheck_text_indexes
from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import (
    CoffreError,
    DamageHiddenError,
    QueryFailedError,
    ServerMemoryError,
    TargetLacksError,
    ValueTooLargeError,
)
from coffre.vault.layout import Layout
from coffre.vault.notes import Hold, write_note
from coffre.vault.reader import load_manifest
from tests.faults.cases import FIRST, SECOND, WHOLE
from tests.faults.world import DATABASE, World
from tests.support.encodings import create_named, named
from tests.support.postgres import create, databases, dumped, sql, target


def comes_back(world: World, server: EphemeralServer, source: Target, root: Path) -> Target:
    """Back up, restore, compare by pg_dump; the restored database."""
    name = world.backup(source, FIRST).backup_id
    restored = target(server, f"{source.database} again")
    assert world.restore(restored, name).digests_equal
    assert dumped(root, restored) == dumped(root, source)
    return restored


def test_rules_and_triggers_that_swallow_rows_swallow_none_of_a_restore(
    world: World, server: EphemeralServer, postgres_root: Path
) -> None:
    source = create(
        server,
        "swallowing",
        "CREATE TABLE ruled AS SELECT i FROM generate_series(1, 50) i",
        "CREATE RULE away AS ON INSERT TO ruled DO INSTEAD NOTHING",
        "CREATE TABLE guarded AS SELECT i FROM generate_series(1, 50) i",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER no BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION no()",
        "ALTER TABLE guarded ENABLE ALWAYS TRIGGER no",
        "CREATE TABLE off (LIKE guarded)",
        "CREATE TRIGGER off BEFORE INSERT ON off FOR EACH ROW EXECUTE FUNCTION no()",
        "ALTER TABLE off DISABLE TRIGGER off",
    )
    comes_back(world, server, source, postgres_root)


def test_large_objects_come_back_with_bytes_owner_rights_and_comment(
    world: World, server: EphemeralServer, postgres_root: Path
) -> None:
    source = create(
        server,
        "objects",
        "CREATE ROLE lob_owner; CREATE ROLE lob_reader",
        "SELECT lo_from_bytea(5001, 'bytes'), lo_create(5002)",
        "SELECT lo_create(5003); SELECT lo_put(5003, 3000000, 'at the end of nothing')",
        "SELECT lo_put(lo_create(n), 0, convert_to(repeat(n || ' ', 500000), 'UTF8')) "
        "FROM generate_series(5004, 5009) n",
        "ALTER LARGE OBJECT 5001 OWNER TO lob_owner; GRANT SELECT ON LARGE OBJECT 5002 TO lob_reader",
        "COMMENT ON LARGE OBJECT 5003 IS 'sparse'",
    )
    restored = comes_back(world, server, source, postgres_root)
    assert sql(restored, "SELECT length(lo_get(5003)), obj_description(5003, 'pg_largeobject')") == [
        [3000021, "sparse"]
    ]


def test_states_are_kept_and_an_invalid_index_is_told_to_be_lost(
    world: World, server: EphemeralServer, postgres_root: Path
) -> None:
    source = create(
        server,
        "states",
        "CREATE TABLE t (id int, other int); INSERT INTO t SELECT i, -i FROM generate_series(1, 9) i",
        "CREATE MATERIALIZED VIEW stale AS SELECT count(*) AS n FROM t; INSERT INTO t VALUES (10, 10)",
        "CREATE MATERIALIZED VIEW empty AS SELECT 1 AS one WITH NO DATA",
        "ALTER TABLE t ADD CONSTRAINT later CHECK (other < 0) NOT VALID",
        "CREATE PUBLICATION everything FOR ALL TABLES",
    )
    with pytest.raises(CoffreError), open_session(source, seconds=60) as session:
        session.run("CREATE UNIQUE INDEX CONCURRENTLY broken ON public.t ((id > 0))")
    with open_session(source, seconds=60) as session:
        told = {(f.code, f.object) for f in preflight.inspect(session)}
    assert ("invalid-index", "public.broken") in told
    restored = comes_back(world, server, source, postgres_root)
    state = "SELECT convalidated FROM pg_constraint WHERE conname = 'later'"
    assert sql(restored, state) == [[False]]
    assert sql(restored, "SELECT relispopulated FROM pg_class WHERE relname = 'empty'") == [[False]]


def test_passwords_in_definitions_are_flagged_without_being_shown(server: EphemeralServer) -> None:
    source = create(
        server,
        "mapped",
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w",
        "CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (\"user\" 'u', password 'hunter2')",
        "CREATE SUBSCRIPTION fed CONNECTION 'host=far password=hunter2' PUBLICATION p WITH (connect = false)",
    )
    with open_session(source, seconds=60) as session:
        told = [f for f in preflight.inspect(session) if f.code == "password-in-definition"]
    assert [f.object for f in told] == ["subscription fed", "user mapping for public on server far"]
    assert "hunter2" not in repr(told)
    sql(source, "ALTER SUBSCRIPTION fed SET (slot_name = NONE); DROP SUBSCRIPTION fed")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP", "WIN1252"])
def test_every_encoding_comes_back_byte_for_byte(
    world: World, server: EphemeralServer, postgres_root: Path, encoding: str
) -> None:
    source = create_named(server, encoding, f"in {encoding}")
    with open_session(source, seconds=60) as session:
        session.run("CREATE TABLE public.t (body text)")
        if encoding == "SQL_ASCII":
            session.run(r"INSERT INTO public.t VALUES (E'latin \xe9'), (E'utf \xc3\xa9'), (E'neither \xff')")
        elif encoding == "EUC_JP":
            session.run("INSERT INTO public.t VALUES (convert_from('\\xb4c1bbfa', 'EUC_JP'))")
        else:
            session.run("INSERT INTO public.t VALUES (convert_from('\\x636166e9', '" + encoding + "'))")
    restored = comes_back(world, server, source, postgres_root)
    assert named(restored) == named(source)
    assert sql(restored, "SELECT encode(body::bytea, 'hex') FROM t ORDER BY 1") == sql(
        source, "SELECT encode(body::bytea, 'hex') FROM t ORDER BY 1"
    )
    # Into a database of another encoding bytes would be taken for other characters.
    create(server, f"utf8 for {encoding}")
    backup = world.backups()[-1]
    with pytest.raises(TargetLacksError):
        world.plan(target(server, f"utf8 for {encoding}"), backup)


def test_a_server_without_room_for_the_locks_makes_no_backup_and_names_the_setting(
    world: World, postgres_root: Path, scratch_root: Path
) -> None:
    small = {"max_locks_per_transaction": "10", "max_connections": "10"}
    with EphemeralServer.start(postgres_root, 16, scratch_root, settings=small) as server:
        source = Target(str(server.socket_dir), server.port, server.superuser, "postgres", sslmode="disable")
        for start in range(0, 1500, 50):
            sql(source, ";".join(f"CREATE TABLE t{n} (id int)" for n in range(start, start + 50)))
        with pytest.raises(ServerMemoryError) as error:
            world.backup(source, FIRST)
    assert "max_locks_per_transaction" in error.value.hint
    assert world.backups() == []


def test_a_page_that_is_broken_makes_no_backup_and_is_named(world: World, server: EphemeralServer) -> None:
    create(server, "sound", "CREATE TABLE wide AS SELECT i, md5(i::text) FROM generate_series(1, 3000) i")
    # A copy file by file: no page of it is in the server's memory yet.
    sql(target(server, "postgres"), "CREATE DATABASE broken TEMPLATE sound STRATEGY file_copy")
    source = target(server, "broken")
    ((path,),) = sql(source, "SELECT pg_relation_filepath('wide')")
    with (server._data / path).open("r+b") as file:
        file.seek(3 * 8192)
        file.write(b"\xa5" * 64)
    with pytest.raises(QueryFailedError) as error:
        world.backup(source, FIRST)
    assert "public.wide" in error.value.message
    assert "invalid page in block 3" in error.value.message
    assert world.backups() == []


def test_rows_in_a_table_of_an_extensions_own_are_told_to_be_left_out(
    world: World, server: EphemeralServer
) -> None:
    source = create(
        server,
        "extended",
        "CREATE EXTENSION hstore",
        "CREATE TABLE jobs (id int); INSERT INTO jobs VALUES (1); CREATE TABLE empty (id int)",
        "ALTER EXTENSION hstore ADD TABLE jobs; ALTER EXTENSION hstore ADD TABLE empty",
    )
    made = world.backup(source, FIRST)
    told = [(f.level, f.object) for f in made.findings if f.code == "left-out"]
    assert told == [("warn", "public.jobs")]
    (left,) = load_manifest(world.store, DATABASE, made.backup_id)[0].left_out
    assert (left.kind, left.name, left.reason) == ("extension table", "public.jobs", "hstore makes it anew")


@pytest.mark.parametrize("name", ["zero_damaged_pages", "ignore_checksum_failure"])
def test_a_server_that_passes_over_broken_pages_makes_no_backup(
    world: World, server: EphemeralServer, name: str
) -> None:
    """It would give 58 rows less, and a proof would find the rest as they were read."""
    source = create(server, name, "CREATE TABLE t (id int)")
    sql(target(server, "postgres"), f"ALTER DATABASE {name} SET {name} = on")
    with pytest.raises(DamageHiddenError, match=name):
        world.backup(source, FIRST)
    assert world.backups() == []
    sql(target(server, "postgres"), f"ALTER DATABASE {name} RESET ALL")
    assert world.backup(source, FIRST).status == "completed"


@pytest.mark.skipif(not WHOLE, reason="takes 20 s and 2 GB: make test-faults")
def test_a_value_whose_text_the_server_cannot_make_makes_no_backup_and_is_named(
    world: World, server: EphemeralServer
) -> None:
    """540 MB of bytes are 1.08 GB of text; as they are all the same, they take little room on disk."""
    source = create(
        server,
        "huge",
        "CREATE TABLE small (id int); CREATE TABLE holding (id int, body bytea)",
        "INSERT INTO holding VALUES (1, convert_to(repeat('x', 540000000), 'SQL_ASCII'))",
    )
    with pytest.raises(ValueTooLargeError) as error:
        world.backup(source, FIRST)
    assert "public.holding" in error.value.message
    assert world.backups() == []


def test_a_restored_subscription_is_disabled_and_lets_go_of_the_sources_slot(
    world: World, server: EphemeralServer
) -> None:
    far = "CONNECTION 'host=far.invalid' PUBLICATION p WITH (connect = false, slot_name = 'precious')"
    source = create(server, "subscribed", "CREATE TABLE t (id int)", f'CREATE SUBSCRIPTION "Fed" {far}')
    name = world.backup(source, FIRST).backup_id
    sql(source, 'ALTER SUBSCRIPTION "Fed" SET (slot_name = NONE); DROP SUBSCRIPTION "Fed"')
    restored = target(server, "subscribed again")
    result = world.restore(restored, name)
    seen = "SELECT subname, subenabled, subslotname FROM pg_subscription"
    assert sql(restored, seen) == [["Fed", False, None]]
    assert [f.object for f in result.findings if f.code == "subscription-detached"] == ["Fed"]
    sql(restored, 'DROP SUBSCRIPTION "Fed"')


def test_a_collation_whose_library_changed_is_told_in_the_report(
    world: World, server: EphemeralServer
) -> None:
    source = create(
        server,
        "sorted",
        "CREATE COLLATION swiss (provider = icu, locale = 'de-CH')",
        "CREATE COLLATION unused (provider = icu, locale = 'sv')",
        "CREATE TABLE t (name text COLLATE swiss PRIMARY KEY)",
        "UPDATE pg_collation SET collversion = '1.0' WHERE collname IN ('swiss', 'unused')",
    )
    told = [f for f in world.backup(source, FIRST).findings if f.code == "stale-collation"]
    assert [(f.level, f.object) for f in told] == [("warn", "collation public.swiss")]
    sql(source, "ALTER COLLATION swiss REFRESH VERSION")
    assert "stale-collation" not in {f.code for f in world.backup(source, SECOND).findings}


def test_another_or_an_emptied_database_is_told_and_the_backup_before_is_kept(
    world: World, server: EphemeralServer
) -> None:
    table = "CREATE TABLE t AS SELECT i FROM generate_series(1, {}) i"
    right = create(server, "right", table.format(500))
    wrong = create(server, "wrong", table.format(500))
    first = world.backup(right, FIRST).backup_id
    assert world.backup(right, SECOND).findings == []
    second = world.backups()[-1]
    result = world.backup(wrong, SECOND + timedelta(days=1))
    assert [f.code for f in result.findings] == ["unlike-last"]
    entry = world.catalogue.backup(DATABASE, result.backup_id)
    assert entry is not None
    assert "not from" in entry.unlike
    sql(wrong, "TRUNCATE t")
    emptied = world.backup(wrong, SECOND + timedelta(days=2))
    assert "holds no row, the one before 500" in emptied.findings[0].message
    for name in world.backups():
        world.verify(name)

    decisions = {d.backup_id: d for d in world.rotate().reports[0].decisions}
    assert decisions[first].action == "delete"
    assert [decisions[name].action for name in (second, result.backup_id)] == ["keep", "keep"]
    assert "unlike it" in decisions[second].reasons[0]
    write_note(world.store, Layout(DATABASE), second, "release", Hold(), world.clock())
    decisions = {d.backup_id: d for d in world.rotate().reports[0].decisions}
    assert [decisions[name].action for name in (second, result.backup_id)] == ["delete", "keep"]


def test_a_tablespace_of_the_source_is_left_out_and_that_is_said(
    world: World, server: EphemeralServer, tmp_path: Path
) -> None:
    folder = tmp_path / "space"
    folder.mkdir()
    shutil.chown(folder, (server._data).stat().st_uid, (server._data).stat().st_gid)
    for parent in folder.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    sql(target(server, "postgres"), f"CREATE TABLESPACE quick LOCATION '{folder}'")
    source = create(server, "spread", "CREATE TABLE t (id int PRIMARY KEY) TABLESPACE quick")
    name = world.backup(source, FIRST).backup_id
    restored = target(server, "gathered")
    told = [f for f in world.plan(restored, name).findings if f.code == "tablespace-left-out"]
    assert [f.object for f in told] == ["quick"]
    world.restore(restored, name)
    assert sql(restored, "SELECT reltablespace FROM pg_class WHERE relname = 't'") == [[0]]


def test_a_target_without_room_or_connections_is_refused_before_anything_is_done(
    world: World, server: EphemeralServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = create(server, "roomy", "CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i")
    sql(source, "CREATE ROLE narrow LOGIN CREATEDB CREATEROLE CONNECTION LIMIT 3")
    name = world.backup(source, FIRST).backup_id
    with pytest.raises(TargetLacksError, match="connections: 3 are free, a restore takes 4"):
        world.plan(replace(target(server, "tight"), user="narrow"), name)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=10_000))
    with pytest.raises(TargetLacksError, match=r"are needed, 0\.0 MB are free"):
        world.plan(target(server, "tight"), name)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=20_000))
    assert world.plan(target(server, "tight"), name).findings[0].code == "superuser-target"
    assert "tight" not in databases(server)


def test_indexes_on_text_are_checked_after_a_restore(world: World, server: EphemeralServer) -> None:
    source = create(
        server,
        "words",
        "CREATE COLLATION german (provider = icu, locale = 'de')",
        "CREATE COLLATION upper_first (provider = icu, locale = 'de-u-kf-upper')",
        'CREATE TABLE t (w text COLLATE german UNIQUE, n text COLLATE "C" UNIQUE, i int UNIQUE)',
        "INSERT INTO t SELECT chr(64 + i) || chr(96 + i), chr(96 + i), i FROM generate_series(1, 26) i",
        "INSERT INTO t SELECT chr(96 + i) || chr(64 + i), chr(64 + i), -i FROM generate_series(1, 26) i",
    )
    restored = target(server, "words again")
    result = world.restore(restored, world.backup(source, FIRST).backup_id)
    assert "recheck" in result.phases
    assert "indexes-not-rechecked" not in {f.code for f in result.findings}
    extensions = "SELECT extname FROM pg_extension WHERE extname = 'amcheck'"
    assert sql(restored, extensions) == []
    # As if another library sorted from now on: the index stays as it was built.
    other = "(SELECT oid::text FROM pg_collation WHERE collname = 'upper_first')::oidvector"
    sql(restored, f"UPDATE pg_index SET indcollation = {other} WHERE indexrelid = 't_w_key'::regclass")
    with open_session(restored, seconds=60) as session:
        wrong, _ = recheck_text_indexes(session)
    assert [f.object for f in wrong] == ["public.t_w_key"]


def test_no_function_of_the_databases_own_is_taken_for_amchecks(
    world: World, server: EphemeralServer
) -> None:
    """Whoever may create in the extension's schema would have it run by whoever restores."""
    source = create(
        server,
        "impostor",
        "CREATE EXTENSION amcheck; CREATE SEQUENCE ran; CREATE TABLE t (w text PRIMARY KEY)",
        *(
            f"CREATE FUNCTION bt_index_check({kind}) RETURNS void LANGUAGE sql "
            "AS $$SELECT nextval('public.ran')$$"
            for kind in ("int", "bigint", "oid", "text", '"char"')
        ),
    )
    restored = target(server, "impostor again")
    world.restore(restored, world.backup(source, FIRST).backup_id)
    assert sql(restored, "SELECT is_called FROM ran") == [[False]]


def test_a_role_that_may_not_use_amcheck_is_told_that_the_order_was_not_checked(
    world: World, server: EphemeralServer
) -> None:
    source = create(
        server,
        "letters",
        "CREATE ROLE checked LOGIN",
        'CREATE TABLE t (w text COLLATE "en-x-icu" PRIMARY KEY); ALTER TABLE t OWNER TO checked',
    )
    name = world.backup(source, FIRST).backup_id
    restored = create(
        server,
        "letters again",
        'CREATE EXTENSION amcheck; ALTER DATABASE "letters again" OWNER TO checked',
    )
    result = world.restore(replace(restored, user="checked"), name)
    told = [f for f in result.findings if f.code == "indexes-not-rechecked"]
    assert [(f.object, f.count) for f in told] == [("amcheck", 1)]


def test_a_view_that_takes_a_tables_place_is_never_run(server: EphemeralServer) -> None:
    """CVE-2024-7348: the session refuses to expand a view where it reads a table."""
    source = create(server, "swapped", "CREATE TABLE t AS SELECT 1 AS id", "CREATE VIEW v AS SELECT * FROM t")
    with open_session(source, seconds=60) as session:
        assert session.value("SHOW restrict_nonsystem_relation_kind") == "view, foreign-table"
        with pytest.raises(CoffreError):
            session.run("SELECT * FROM public.v")
