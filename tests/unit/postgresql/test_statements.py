"""Statements name every schema, relation and column, quoted, and nothing in a name gets out of its quotes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.connection import identifier, literal, qualified
from coffre.databases.postgresql.statements import copy_from, copy_to, copy_tree_to
from coffre.vault.parts import Column, Relation

TABLE = Relation(1, "table", "public", "t", "me", (Column("a", "integer"), Column("b c", "text")))
LEAF = Relation(2, "leaf", "s", "leaf", "me", TABLE.columns, "self", "s", "root")


def test_a_table_is_read_and_loaded_by_its_columns() -> None:
    assert copy_to(TABLE) == 'COPY "public"."t" ("a", "b c") TO STDOUT'
    assert copy_from(TABLE) == 'COPY "public"."t" ("a", "b c") FROM STDIN'


def test_pages_are_half_open_and_the_last_range_has_no_end() -> None:
    start = 'COPY (SELECT "a", "b c" FROM ONLY "public"."t" WHERE ctid >= \'('
    assert copy_to(TABLE, (0, 64)) == f"{start}0,0)'::tid AND ctid < '(64,0)'::tid) TO STDOUT"
    assert copy_to(TABLE, (64, None)) == f"{start}64,0)'::tid) TO STDOUT"


def test_a_leaf_loads_where_it_says() -> None:
    through_root = Relation(2, "leaf", "s", "leaf", "me", TABLE.columns, "root", "s", "root")
    assert copy_to(LEAF) == copy_to(through_root) == 'COPY "s"."leaf" ("a", "b c") TO STDOUT'
    assert copy_from(LEAF) == 'COPY "s"."leaf" ("a", "b c") FROM STDIN'
    assert copy_from(through_root) == 'COPY "s"."root" ("a", "b c") FROM STDIN'
    assert copy_tree_to(through_root) == 'COPY (SELECT "a", "b c" FROM "s"."root") TO STDOUT'
    with pytest.raises(ValueError, match="no root"):
        copy_tree_to(TABLE)


def test_a_table_without_columns_has_no_list() -> None:
    bare = Relation(1, "table", "public", "t", "me")
    assert (copy_to(bare), copy_from(bare)) == ('COPY "public"."t" TO STDOUT', 'COPY "public"."t" FROM STDIN')
    assert copy_to(bare, (0, 1)).startswith('COPY (SELECT  FROM ONLY "public"."t" WHERE')


def test_extension_configuration_is_read_by_its_condition() -> None:
    relation = Relation(
        1, "extension_config", "x", "conf", "me", (Column("k", "text"),), condition="WHERE k > 1"
    )
    assert copy_to(relation) == 'COPY (SELECT "k" FROM ONLY "x"."conf" WHERE k > 1) TO STDOUT'


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@given(schema=names, name=names)
def test_names_stay_within_their_quotes(schema: str, name: str) -> None:
    match = re.fullmatch(r'"((?:[^"]|"")*)"\."((?:[^"]|"")*)"', qualified(schema, name), re.DOTALL)
    assert match is not None
    assert (match[1].replace('""', '"'), match[2].replace('""', '"')) == (schema, name)
    assert identifier(name) == f'"{match[2]}"'


@given(text=names)
def test_literals_stay_within_their_quotes_whatever_backslashes_mean(text: str) -> None:
    quoted = literal(text)
    if "\\" in text:
        match = re.fullmatch(r" E'((?:[^'\\]|''|\\\\)*)'", quoted, re.DOTALL)
        assert match is not None
        assert match[1].replace("''", "'").replace("\\\\", "\\") == text
    else:
        assert quoted == "'" + text.replace("'", "''") + "'"
