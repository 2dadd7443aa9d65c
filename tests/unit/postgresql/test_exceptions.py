"""Who is to blame is read from what PostgreSQL's own programs write, hostile names included."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.archive import ArchiveEntry
from coffre.databases.postgresql.complaints import read_complaints, suspects
from coffre.databases.postgresql.connection import identifier, qualified
from coffre.databases.postgresql.exceptions import violations, with_exceptions
from coffre.results import LISTED, Finding, listed

SAID = b"""pg_restore: connecting to database for restore
pg_restore: creating FK CONSTRAINT "public.orders orders_item_fkey"
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 7; 2606 16395 FK CONSTRAINT orders orders_item_fkey owner
pg_restore: error: could not execute query: ERROR:  violates foreign key constraint
DETAIL:  Key (item)=(7) is not present in table "items".
Command was: ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_item_fkey FOREIGN KEY (item) REFERENCES public.items(id);
pg_restore: error: could not execute query: ERROR:  a second one
Command was: COMMENT
pg_restore: from TOC entry 9; 1259 16397 INDEX by_name owner
pg_restore: error: could not execute query: ERROR:  no such function
Command was: CREATE INDEX by_name
pg_restore: warning: errors ignored on restore: 3
"""
ENTRIES = {
    7: ArchiveEntry(7, "FK CONSTRAINT", "public orders"),
    9: ArchiveEntry(9, "INDEX", "public by_name"),
}
NAMES = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=20)
"""Of what can be printed."""


def test_each_entry_is_named_once_with_the_first_message(tmp_path: Path) -> None:
    said = tmp_path / "said"
    said.write_bytes(SAID)
    assert [(c.dump_id, c.message) for c in read_complaints(said, ENTRIES)] == [
        (7, "ERROR: violates foreign key constraint"),
        (9, "ERROR: no such function"),
    ]
    assert suspects(said) == {7, 9}


def test_jobs_that_write_into_each_others_lines_hide_no_entry(tmp_path: Path) -> None:
    said = tmp_path / "said"
    said.write_bytes(
        b"pg_restore: pg_restore: from TOC entry 7; 2606 1 FK a\nfrom TOC entry 9; 1259 2 INDEX b\n"
    )
    assert suspects(said) == {7, 9}


@given(st.binary())
def test_rubbish_names_nobody_that_was_not_to_be_restored(
    tmp_path_factory: pytest.TempPathFactory, text: bytes
) -> None:
    said = tmp_path_factory.getbasetemp() / "rubbish"
    said.write_bytes(text + b"\npg_restore: from TOC entry 8; 1 2 INDEX x\n")
    assert read_complaints(said, ENTRIES) == []


@given(st.lists(NAMES, min_size=6, max_size=6))
def test_names_of_any_kind_come_whole_out_of_a_statement(names: list[str]) -> None:
    schema, table, constraint, column, other, key = names
    statement = (
        f"ALTER TABLE ONLY {qualified(schema, table)}\n    ADD CONSTRAINT {identifier(constraint)} "
        f"FOREIGN KEY ({identifier(column)}, b) REFERENCES {qualified(schema, other)}({identifier(key)}, id);"
    )
    found = violations(f"SET x = 1;\n\n{statement}\n\n")
    assert found is not None
    assert found[0] == qualified(schema, table)
    assert f"p.{identifier(key)} = c.{identifier(column)} AND p.id = c.b" in found[1]
    index = f"CREATE UNIQUE INDEX i ON {qualified(schema, table)} USING btree ({identifier(column)})"
    found = violations(f"{index} WHERE (a > 0);")
    assert found is not None
    assert f"GROUP BY {identifier(column)} HAVING" in found[1]
    assert "((a > 0))" in found[1]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX i ON public.t USING btree (a);",
        "CREATE UNIQUE INDEX i ON public.t USING btree (lower(a));",
        "CREATE UNIQUE INDEX i ON public.t USING btree (a DESC);",
        "REFRESH MATERIALIZED VIEW public.v;",
        "COMMENT ON TABLE public.t IS 'ADD CONSTRAINT x UNIQUE (a)';",
    ],
)
def test_what_cannot_be_counted_is_not_guessed(statement: str) -> None:
    assert violations(statement) is None


def test_one_line_says_that_a_backup_restores_with_exceptions() -> None:
    other = Finding(level="refuse", code="content-differs", object="t", message="m")
    assert with_exceptions([other], "id") == []
    many = [other.model_copy(update={"code": "exception-index", "object": f"i{n}"}) for n in range(9)]
    (summary,) = with_exceptions([other, *many], "id")
    assert (summary.count, "i4 and 4 more" in summary.message) == (9, True)


def test_a_report_stays_small_enough_for_an_event_and_says_what_it_leaves_out() -> None:
    one = Finding(level="refuse", code="c", object="o", message="m" * 5000)
    short = listed([one] * (LISTED + 7))
    assert (len(short), short[-1].count, short[-1].level) == (LISTED + 1, 7, "refuse")
    assert sum(len(found.model_dump_json()) for found in short) < 200_000
