"""The rule by which tables are chosen for a sample: the room is kept, and every table has its turn."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from coffre.prove.sample import Unit, choose, only, units
from coffre.vault.contents import Contents
from coffre.vault.parts import Described, End, Relation


def table(number: int, size: int, name: str = "") -> Unit:
    name = name or f"t{number}"
    return Unit(f"public.{name}", frozenset({("public", name)}), (number,), size)


SIZES = st.lists(st.integers(0, 1000), min_size=1, max_size=30)
TABLES = SIZES.map(lambda sizes: [table(number, size) for number, size in enumerate(sizes)])
FEW = TABLES.map(lambda tables: tables[:12])
TURNS = st.text("0123456789abcdef", min_size=1, max_size=8)


def chosen(tables: list[Unit], room: int, turn: str = "a", critical: tuple[str, ...] = ()) -> set[Unit]:
    return set(choose(tables, critical=critical, checks=[], room=room, turn=turn))


@given(TABLES, st.integers(0, 5000), TURNS, st.randoms(use_true_random=False))
def test_the_room_is_kept_nothing_that_fits_is_left_and_the_order_of_the_tables_doesnt_matter(
    tables: list[Unit], room: int, turn: str, shuffle: object
) -> None:
    found = choose(tables, critical=["t0"], checks=["SELECT FROM t1"], room=room, turn=turn)
    used = sum(unit.bytes for unit in found)
    assert used <= room
    assert len(found) == len(set(found))
    assert all(unit.bytes > room - used for unit in tables if unit not in found)
    mixed = list(tables)
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]  # a random.Random
    assert choose(mixed, critical=["t0"], checks=["SELECT FROM t1"], room=room, turn=turn) == found


@given(TABLES, st.integers(0, 5000), TURNS, st.data())
def test_critical_tables_come_first_in_the_owners_order(
    tables: list[Unit], room: int, turn: str, data: st.DataObject
) -> None:
    wanted = data.draw(st.lists(st.sampled_from(tables), unique=True))
    names = [unit.label.removeprefix("public.") for unit in wanted]
    found = choose(tables, critical=names, checks=[], room=room, turn=turn)
    left, expected = room, []
    for unit in wanted:
        if unit.bytes <= left:
            expected.append(unit)
            left -= unit.bytes
    assert found[: len(expected)] == expected


@given(FEW, st.integers(0, 1000))
def test_over_many_backups_every_table_that_fits_beside_the_critical_ones_is_restored(
    tables: list[Unit], room: int
) -> None:
    critical = tables[0]
    beside = room - critical.bytes if critical.bytes <= room else room
    seen: set[Unit] = set()
    for number in range(400):
        seen |= chosen(tables, room, f"backup {number}", ("t0",))
        if len(seen) == len(tables):
            break
    assert {unit for unit in tables[1:] if unit.bytes <= beside} <= seen


def test_two_backups_choose_otherwise_and_one_always_the_same() -> None:
    tables = [table(number, 100) for number in range(40)]
    choices = [frozenset(chosen(tables, 1000, f"2026112{day}T030000Z-daily-abcdef")) for day in range(5)]
    assert all(one != other for one, other in combinations(choices, 2))
    assert choices[0] == chosen(tables, 1000, "20261120T030000Z-daily-abcdef")


def test_small_tables_are_there_whoevers_turn_it_is() -> None:
    small = [table(number, 1) for number in range(20)]
    large = [table(number, 900) for number in range(20, 40)]
    for turn in "abcdefgh":
        assert set(small) < chosen([*small, *large], 1000, turn)


def test_names_are_read_as_sql_reads_them() -> None:
    others = [table(number, 100) for number in range(10, 30)]
    odd = Unit('shop."Odd ""one"', frozenset({("Shop", 'Odd "one')}), (1,), 100)
    plain = Unit("shop.plain", frozenset({("shop", "plain")}), (2,), 100)
    for name, expected in (('"Shop"."Odd ""one"', odd), ("SHOP.Plain", plain), ("t12", others[2])):
        assert choose([*others, odd, plain], critical=[name], checks=[], room=100, turn="a") == [expected]
    for rubbish in ("", ".", "..", '"', "nothing.there"):
        assert len(choose(others, critical=[rubbish], checks=[], room=100, turn="a")) == 1


def test_tables_that_checks_name_come_before_the_others() -> None:
    tables = [table(number, 100) for number in range(30)]
    for turn in "abcdef":
        found = choose(
            tables, critical=[], checks=["SELECT count(*) FROM T7 JOIN t19 USING (id)"], room=250, turn=turn
        )
        assert {unit.label for unit in found} == {"public.t7", "public.t19"}


def relation(number: int, name: str, *, load: str = "self", root: str | None = None) -> Relation:
    return Relation(
        number,
        "leaf" if root else "table",
        "public",
        name,
        "me",
        load="root" if load == "root" else "self",
        root_schema="public" if root else None,
        root_name=root,
    )


def test_partitions_are_chosen_alone_unless_they_load_through_their_root() -> None:
    relations = [
        relation(1, "plain"),
        relation(2, "p1", root="parted"),
        relation(3, "p2", root="parted"),
        relation(4, "h1", root="hashed", load="root"),
        relation(5, "h2", root="hashed", load="root"),
    ]
    contents = Contents(
        relations={item.id: item for item in relations},
        ends={item.id: End(item.id, 1, item.id * 10, "0") for item in relations},
        described=[Described("large object", "1"), Described("table", "public.plain")],
    )
    found = {unit.relations: unit for unit in units(contents)}
    assert set(found) == {(1,), (2,), (3,), (4, 5)}
    assert found[4, 5].bytes == 90
    of_root = choose(list(found.values()), critical=["parted"], checks=[], room=50, turn="a")
    assert {unit.relations for unit in of_root} == {(2,), (3,)}
    kept = only(contents, [found[4, 5]])
    assert (set(kept.relations), set(kept.ends)) == ({4, 5}, {4, 5})
    assert [item.kind for item in kept.described] == ["table"]
    assert set(contents.relations) == {1, 2, 3, 4, 5}
