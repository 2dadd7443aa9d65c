"""Roles are exchanged where a statement means a role, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.role_map import map_statement, named_roles
from coffre.databases.postgresql.toc import TocEntry

MAP = {"seller": "shop_owner", 'odd "one"': "plain", "to": "x"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "GRANT SELECT ON TABLE public.seller TO seller;",
            'GRANT SELECT ON TABLE public.seller TO "shop_owner";',
        ),
        ("REVOKE ALL ON TABLE s.t FROM seller;\n", 'REVOKE ALL ON TABLE s.t FROM "shop_owner";\n'),
        (
            'GRANT SELECT(a),INSERT(seller) ON TABLE t TO "odd ""one""" WITH GRANT OPTION;',
            'GRANT SELECT(a),INSERT(seller) ON TABLE t TO "plain" WITH GRANT OPTION;',
        ),
        (
            "ALTER DEFAULT PRIVILEGES FOR ROLE seller IN SCHEMA seller GRANT ALL ON TABLES TO clerk;",
            'ALTER DEFAULT PRIVILEGES FOR ROLE "shop_owner" IN SCHEMA seller GRANT ALL ON TABLES TO clerk;',
        ),
        (
            "CREATE POLICY p ON s.t FOR SELECT TO clerk, seller USING ((a = ( SELECT x FROM seller)));",
            'CREATE POLICY p ON s.t FOR SELECT TO clerk, "shop_owner" USING ((a = ( SELECT x FROM seller)));',
        ),
        ("SET SESSION AUTHORIZATION seller;", 'SET SESSION AUTHORIZATION "shop_owner";'),
        ("GRANT ALL ON TABLE public.role TO PUBLIC;", "GRANT ALL ON TABLE public.role TO PUBLIC;"),
        ('GRANT ALL ON TABLE "TO", seller TO "to";', 'GRANT ALL ON TABLE "TO", seller TO "x";'),
        ("CREATE POLICY \"to seller\" ON t USING ((a = 'TO seller'));",) * 2,
    ],
)
def test_only_roles_are_exchanged(before: str, after: str) -> None:
    assert map_statement(before, MAP) == after


def test_a_user_mapping_names_its_role_behind_for() -> None:
    before = "CREATE USER MAPPING FOR seller SERVER seller OPTIONS (\n    \"user\" 'TO seller'\n);"
    assert map_statement(before, MAP, user_mapping=True) == before.replace("FOR seller", 'FOR "shop_owner"')


@given(st.text())
def test_without_roles_to_map_nothing_changes(statement: str) -> None:
    assert map_statement(statement, {}) == statement


def entry(description: str, owner: str, statement: str = "", tag: str = "t") -> TocEntry:
    return TocEntry(1, 0, 0, tag, description, 2, "public", "", owner, (), statement)


def test_the_roles_that_a_restore_names_are_owners_and_those_in_statements() -> None:
    toc = [
        entry("TABLE", "seller", tag="DATABASE t"),
        entry("DATABASE", "dba"),
        entry("ACL", "dba", "GRANT CONNECT ON DATABASE t TO guest;", tag="DATABASE t"),
        entry("ACL", "unneeded", 'GRANT ALL ON TABLE public.unneeded TO "Odd, One" WITH GRANT OPTION;\n'),
        entry("ACL", "unneeded", "SET SESSION AUTHORIZATION passer;\nGRANT ALL ON TABLE t TO PUBLIC;"),
        entry("COMMENT", "unneeded"),
        entry("DEFAULT ACL", "no", "ALTER DEFAULT PRIVILEGES FOR ROLE giver GRANT ALL ON TABLES TO taker;"),
        entry("POLICY", "seller", "CREATE POLICY p ON public.t TO clerk, \"x\" USING ((a = 'TO nobody'));"),
        entry("USER MAPPING", "seller", "CREATE USER MAPPING FOR mapped SERVER s;"),
    ]
    expected = {"seller", "Odd, One", "passer", "giver", "taker", "clerk", "x", "mapped"}
    assert named_roles(toc) == expected
