"""What follows the rows is built in an order in which nothing comes before, or beside, what it needs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.archive import ArchiveEntry
from coffre.restore.waves import plan_waves

KINDS = [
    "CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "FK CONSTRAINT",
    "TRIGGER",
    "RULE",
    "MATERIALIZED VIEW",
    "COMMENT",
    "MATERIALIZED VIEW DATA",
]
archives = st.lists(st.tuples(st.sampled_from(KINDS), st.lists(st.integers(0, 40), max_size=4)), max_size=40)


@given(archive=archives, acls=st.integers(0, 3))
def test_every_entry_is_built_once_and_after_what_it_needs(
    archive: list[tuple[str, list[int]]], acls: int
) -> None:
    late = [ArchiveEntry(n, kind, f"e{n}") for n, (kind, _) in enumerate(archive)]
    late += [ArchiveEntry(100 + n, "ACL", f"acl{n}") for n in range(acls)]
    needs = {n: [one for one in wanted if one < n] for n, (_, wanted) in enumerate(archive)}
    waves = plan_waves(late, needs)
    order = [entry.dump_id for wave in waves for entry in wave.entries]
    assert sorted(order) == sorted(entry.dump_id for entry in late)
    place = {entry.dump_id: (wave.number, n) for wave in waves for n, entry in enumerate(wave.entries)}
    for wave in waves:
        for entry in wave.entries:
            for one in needs.get(entry.dump_id, ()):
                assert place[one] < place[entry.dump_id]
                assert not wave.side_by_side or place[one][0] < wave.number


def test_constraints_indexes_and_foreign_keys_are_shared_out_and_the_rest_is_not() -> None:
    kinds = ["CONSTRAINT", "INDEX", "INDEX", "TRIGGER", "FK CONSTRAINT", "ACL", "MATERIALIZED VIEW DATA"]
    waves = plan_waves([ArchiveEntry(n, kind, "") for n, kind in enumerate(kinds)], {})
    told = [([entry.description for entry in wave.entries], len(wave.ranges())) for wave in waves]
    assert told == [
        (["CONSTRAINT"], 1),
        (["INDEX", "INDEX"], 2),
        (["TRIGGER"], 1),
        (["FK CONSTRAINT"], 1),
        (["ACL"], 1),
        (["MATERIALIZED VIEW DATA"], 1),
    ]


def test_an_index_on_a_view_that_comes_late_waits_for_it() -> None:
    late = [
        ArchiveEntry(1, "CONSTRAINT", "t_pkey"),
        ArchiveEntry(2, "MATERIALIZED VIEW", "v"),
        ArchiveEntry(3, "INDEX", "v_idx"),
        ArchiveEntry(4, "INDEX", "t_idx"),
    ]
    waves = plan_waves(late, {2: [1], 3: [2]})
    assert [[entry.dump_id for entry in wave.entries] for wave in waves] == [[1], [4], [2, 3]]
