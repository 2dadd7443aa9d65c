"""A restore finds out before it starts whether the target can take the backup, and never harms one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from tests.support.postgres import create, databases, dumped, sql, target, url
from tests.support.stack import FunctionError, Stack

CONTENT = """
CREATE ROLE seller; CREATE ROLE auditor;
CREATE SCHEMA store AUTHORIZATION seller;
CREATE TABLE store.items (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text CHECK (name <> ''));
ALTER TABLE store.items OWNER TO seller;
INSERT INTO store.items (name) SELECT 'item ' || n FROM generate_series(1, 200) n;
CREATE VIEW store.names AS SELECT name FROM store.items;
CREATE FUNCTION store.twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2';
ALTER VIEW store.names OWNER TO seller; ALTER FUNCTION store.twice OWNER TO seller;
GRANT USAGE ON SCHEMA store TO auditor; GRANT SELECT ON store.items TO auditor;
SELECT lo_from_bytea(7001, 'contract');
ALTER LARGE OBJECT 7001 OWNER TO seller;
"""


@pytest.fixture(scope="module")
def backed_up(stack: Stack, server16: EphemeralServer) -> Iterator[str]:
    """A database with roles of its own, backed up from PostgreSQL 16."""
    create(server16, "store", CONTENT)
    stack.register("store", url(server16, "store"), prove="never")
    stack.backup("store")
    stack.drain()
    yield "store"


def plan(stack: Stack, database: str, where: str, **event: str) -> dict[str, object]:
    return stack.call("restore", action="plan", database=database, target_secret=stack.target(where), **event)


def test_some_tables_come_back_beside_what_a_newer_server_holds(
    stack: Stack, backed_up: str, server18: EphemeralServer
) -> None:
    where = create(server18, "shelf", "CREATE TABLE books (id int); INSERT INTO books VALUES (1)")
    asked = {"mode": "tables", "tables": ["store.items"], "into": "rescue", "database": backed_up}
    asked["target_secret"] = stack.target(url(server18, "shelf"))
    found = stack.call("restore", action="plan", **asked)
    assert "sequence store.items_id_seq" in found["comes_along"]
    confirmed = {"backup": found["backup_id"], "token": found["token"]}
    with pytest.raises(FunctionError, match="PlanChangedError"):
        stack.call("restore", action="run", **confirmed, **{**asked, "into": "elsewhere"})
    result = stack.call("restore", action="run", **confirmed, **asked)
    assert (result["rows"], result["digests_equal"]) == (200, True)
    assert [left["object"] for left in result["findings"] if left["code"] == "left-out"] == [
        "grants on table store.items"
    ]
    assert sql(where, "SELECT (SELECT count(*) FROM rescue.items), (SELECT count(*) FROM books)") == [
        [200, 1]
    ]


def test_a_role_that_may_create_databases_and_roles_needs_no_superuser(
    stack: Stack, backed_up: str, server18: EphemeralServer
) -> None:
    sql(target(server18, "postgres"), "CREATE ROLE builder LOGIN CREATEDB CREATEROLE")
    asked = plan(stack, backed_up, url(server18, "built", "builder"))
    assert asked["roles_to_create"] == ["auditor", "seller"]
    result = stack.restore(backed_up, url(server18, "built", "builder"))
    assert (result["rows"], result["digests_equal"]) == (200, True)
    made = target(server18, "built")
    owners = sql(
        made,
        "SELECT relname, relowner::regrole::text FROM pg_class WHERE relnamespace = 'store'::regnamespace "
        "AND relkind IN ('r', 'S') ORDER BY 1",
    )
    assert owners == [["items", "seller"], ["items_id_seq", "seller"]]
    assert sql(made, "SELECT has_table_privilege('auditor', 'store.items', 'SELECT')") == [[True]]
    assert sql(made, "SELECT lomowner::regrole::text FROM pg_largeobject_metadata") == [["seller"]]


def test_a_role_without_those_rights_is_told_what_it_lacks(
    stack: Stack, backed_up: str, server16: EphemeralServer
) -> None:
    sql(target(server16, "postgres"), "CREATE ROLE weak LOGIN")
    before = databases(server16)
    with pytest.raises(FunctionError) as refused:
        plan(stack, backed_up, url(server16, "never_made", "weak"))
    assert refused.value.code == "target-lacks"
    for lacking in ("CREATEDB", "membership in auditor", "membership in seller"):
        assert lacking in str(refused.value)
    assert databases(server16) == before


def test_with_roles_mine_everything_belongs_to_the_target_role(
    stack: Stack, backed_up: str, server16: EphemeralServer
) -> None:
    sql(target(server16, "postgres"), "CREATE ROLE owner_of_databases LOGIN CREATEDB")
    result = stack.restore(backed_up, url(server16, "mine", "owner_of_databases"), roles="mine")
    assert result["rows"] == 200
    owners = sql(
        target(server16, "mine"),
        "SELECT relowner::regrole::text FROM pg_class WHERE relnamespace = 'store'::regnamespace "
        "UNION SELECT lomowner::regrole::text FROM pg_largeobject_metadata",
    )
    assert owners == [["owner_of_databases"]]


@pytest.mark.parametrize(
    "held",
    [
        "CREATE TABLE old (id int); INSERT INTO old VALUES (1)",
        "CREATE VIEW old AS SELECT 1 AS one",
        "CREATE SCHEMA old",
        "CREATE FUNCTION old() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT lo_create(0)",
        "CREATE PUBLICATION everything FOR ALL TABLES",
        "CREATE SUBSCRIPTION fed CONNECTION 'host=far.invalid' PUBLICATION p WITH (connect = false)",
    ],
)
def test_a_target_that_holds_anything_is_refused_and_untouched(
    stack: Stack, backed_up: str, server16: EphemeralServer, postgres_root: Path, held: str
) -> None:
    name = f"occupied {held[:20]}"
    occupied = create(server16, name, held)
    before = dumped(postgres_root, occupied)
    for action in ({"action": "plan"}, {"action": "run", "token": "0" * 64}):
        with pytest.raises(FunctionError) as refused:
            secret = stack.target(url(server16, name))
            stack.call("restore", database=backed_up, target_secret=secret, **action)
        assert refused.value.code == "target-not-empty"
    assert dumped(postgres_root, occupied) == before


@pytest.mark.parametrize(
    ("name", "code"), [("template1", "target-template"), ("x" * 64, "invalid-url"), ("é" * 32, "invalid-url")]
)
def test_a_template_and_a_name_that_would_be_cut_off_are_refused(
    stack: Stack, backed_up: str, server16: EphemeralServer, name: str, code: str
) -> None:
    with pytest.raises(FunctionError) as refused:
        plan(stack, backed_up, url(server16, name))
    assert refused.value.code == code


def test_what_an_earlier_restore_left_is_named_in_the_plan(
    stack: Stack, backed_up: str, server16: EphemeralServer
) -> None:
    left = create(server16, f"again_restoring_{'0' * 12}")
    found = plan(stack, backed_up, url(server16, "again"))["findings"]
    assert [one["object"] for one in found if one["code"] == "leftover"] == [left.database]
    sql(target(server16, "postgres"), f'DROP DATABASE "{left.database}"')


def test_an_empty_target_is_filled_where_it_is(
    stack: Stack, backed_up: str, server16: EphemeralServer
) -> None:
    made = create(server16, "empty")
    assert plan(stack, backed_up, url(server16, "empty"))["creates_database"] is False
    assert stack.restore(backed_up, url(server16, "empty"))["rows"] == 200
    assert sql(made, "SELECT count(*) FROM store.items") == [[200]]


def test_a_token_confirms_one_plan_only(stack: Stack, backed_up: str, server16: EphemeralServer) -> None:
    token = plan(stack, backed_up, url(server16, "one"))["token"]
    before = databases(server16)
    others = [
        {"target_secret": stack.target(url(server16, "two"))},
        {"target_secret": stack.target(url(server16, "one")), "roles": "mine"},
    ]
    for other in others:
        with pytest.raises(FunctionError) as refused:
            stack.call("restore", action="run", database=backed_up, token=token, **other)
        assert refused.value.code == "plan-changed"
    stack.backup(backed_up)  # "latest" means another backup now
    with pytest.raises(FunctionError) as refused:
        secret = stack.target(url(server16, "one"))
        stack.call("restore", action="run", database=backed_up, token=token, target_secret=secret)
    assert refused.value.code == "plan-changed"
    assert databases(server16) == before


def test_a_target_older_than_the_source_is_refused(
    stack: Stack, server16: EphemeralServer, server18: EphemeralServer
) -> None:
    create(server18, "newer", "CREATE TABLE items (id int); INSERT INTO items VALUES (1)")
    stack.register("newer", url(server18, "newer"), prove="never")
    stack.backup("newer")
    before = databases(server16)
    with pytest.raises(FunctionError) as refused:
        plan(stack, "newer", url(server16, "older"))
    assert refused.value.code == "target-too-old"
    assert databases(server16) == before


MAPPED = """
CREATE POLICY sees ON store.items FOR SELECT TO auditor, seller USING (name <> 'seller');
ALTER TABLE store.items ENABLE ROW LEVEL SECURITY;
ALTER DEFAULT PRIVILEGES FOR ROLE seller IN SCHEMA store GRANT SELECT ON TABLES TO auditor;
GRANT SELECT ON LARGE OBJECT 7001 TO auditor;
"""


@pytest.mark.parametrize("major", [16, 18])
def test_mapped_roles_take_the_place_of_the_sources_everywhere(
    stack: Stack, request: pytest.FixtureRequest, major: int
) -> None:
    source: EphemeralServer = request.getfixturevalue(f"server{major}")
    goal: EphemeralServer = request.getfixturevalue("server18")
    for name in ("seller", "auditor"):
        sql(target(source, "postgres"), f"DO $$ BEGIN CREATE ROLE {name}; EXCEPTION WHEN OTHERS THEN END $$")
    content = CONTENT.replace("CREATE ROLE seller; CREATE ROLE auditor;", "")
    create(source, f"mapped{major}", content, MAPPED)
    stack.register(f"mapped{major}", url(source, f"mapped{major}"), prove="never")
    stack.backup(f"mapped{major}")
    new = {"seller": f'New "Seller" {major}', "auditor": f"reviser{major}"}
    where = url(goal, f"mapped_into_{major}")
    with pytest.raises(FunctionError, match="to map to"):
        stack.call(
            "restore",
            action="plan",
            database=f"mapped{major}",
            target_secret=stack.target(where),
            role_map={"seller": "nobody there"},
        )
    for name in new.values():
        quoted = name.replace('"', '""')
        sql(target(goal, "postgres"), f'CREATE ROLE "{quoted}"')
    result = stack.restore(f"mapped{major}", where, role_map=new)
    assert result["digests_equal"] is True
    made = target(goal, f"mapped_into_{major}")
    used = sql(
        made,
        "SELECT DISTINCT refobjid::regrole::text FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass "
        "AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    quoted = f'"New ""Seller"" {major}"'
    assert sorted(row[0] for row in used) == [quoted, f"reviser{major}"]
    (policy,) = sql(made, "SELECT roles::text[], qual FROM pg_policies")
    assert policy[0] == [new["seller"], new["auditor"]] or policy[0] == [new["auditor"], new["seller"]]
    assert "'seller'" in policy[1], "a text that reads like a role is none"
    assert sql(made, "SELECT lomowner::regrole::text FROM pg_largeobject_metadata") == [[quoted]]
    assert sql(made, "SELECT convert_from(lo_get(7001), 'UTF8')") == [["contract"]]


def test_a_map_that_names_a_role_the_backup_does_not_use_is_refused(
    stack: Stack, backed_up: str, server16: EphemeralServer
) -> None:
    with pytest.raises(FunctionError) as refused:
        secret = stack.target(url(server16, "never_made"))
        stack.call(
            "restore", action="plan", database=backed_up, target_secret=secret, role_map={"sellr": "auditor"}
        )
    assert refused.value.code == "target-lacks"
    assert "sellr" in str(refused.value)
