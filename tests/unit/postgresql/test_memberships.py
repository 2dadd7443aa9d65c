"""Memberships in records, under other names, and as statements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.memberships import grant_memberships, memberships, renamed, with_memberships
from coffre.errors import ManifestInvalidError
from coffre.vault.parts import Role, encode_record, read_records

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=4)
hows = st.sets(st.sampled_from(["ADMIN OPTION", "INHERIT FALSE", "SET FALSE"])).map(sorted).map(tuple)


@given(groups=st.dictionaries(names, hows, max_size=5))
def test_what_is_written_is_read(groups: dict[str, tuple[str, ...]]) -> None:
    role = with_memberships(Role("m", ()), groups)
    (found,) = read_records([encode_record(role)], key="part")
    assert found == role
    assert memberships(role) == groups


def test_one_as_by_default_is_recorded_as_ever() -> None:
    line = encode_record(Role("m", ("LOGIN",), ("g",)))
    assert line == b'{"t":"role","name":"m","attributes":["LOGIN"],"member_of":["g"]}\n'


@pytest.mark.parametrize(
    "options", ['[["g","SET FALSE; DROP ROLE g"]]', '[["g",""]]', '[["g"]]', '["g"]', "[[]]"]
)
def test_an_option_that_is_none_is_no_record(options: str) -> None:
    line = f'{{"t":"role","name":"m","attributes":[],"member_of":["g"],"options":{options}}}'.encode()
    with pytest.raises(ManifestInvalidError):
        list(read_records([line], key="part"))


def test_each_is_granted_with_its_options() -> None:
    groups = {"a": (), 'b "c"': ("ADMIN OPTION", "INHERIT TRUE", "SET FALSE")}
    assert list(grant_memberships(with_memberships(Role("m", ("NOINHERIT",)), groups))) == [
        'GRANT "a" TO "m"',
        'GRANT "b ""c""" TO "m" WITH ADMIN OPTION, INHERIT TRUE, SET FALSE',
    ]


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ((), (), ()),
        (("ADMIN OPTION",), (), ()),
        (("ADMIN OPTION",), ("ADMIN OPTION",), ("ADMIN OPTION",)),
        (("INHERIT FALSE",), (), ("INHERIT FALSE",)),
        (("INHERIT FALSE",), ("SET FALSE",), ("INHERIT FALSE", "SET FALSE")),
        (("INHERIT TRUE",), (), ()),
        (("INHERIT TRUE", "SET FALSE"), ("INHERIT TRUE",), ("INHERIT TRUE", "SET FALSE")),
    ],
)
def test_groups_that_become_one_give_what_each_of_them_gave(
    one: tuple[str, ...], other: tuple[str, ...], both: tuple[str, ...]
) -> None:
    for first, second in ((one, other), (other, one)):
        role = with_memberships(Role("m", ()), {"a": first, "b": second, "c": ("SET FALSE",)})
        found = renamed(role, {"a": "x", "b": "x", "m": "n"})
        assert found == with_memberships(Role("n", ()), {"x": both, "c": ("SET FALSE",)})
