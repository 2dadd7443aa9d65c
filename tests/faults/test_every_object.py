"""Every object of a vault is damaged in turn, and each time it is found (B02 to B05).

One backup in memory, so that hundreds of damages cost seconds.  ``test_vault_damage`` shows some of them
through the deployed functions.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest

from coffre.databases.postgresql.server import EphemeralServer
from coffre.databases.postgresql.target import Target
from coffre.errors import CoffreError
from tests.faults.cases import FIRST, SECOND, SEED
from tests.faults.world import LAYOUT, World
from tests.support.postgres import databases, dumped, target

FLIPS = 8
"""Bits of each object that are flipped, one at a time: the first, the last, some that the seed chooses."""


@pytest.fixture
def vault(world: World, source: Target) -> tuple[World, str, list[str]]:
    """A world with one backup of some of everything; its id and the keys of all its objects."""
    name = world.backup(source, FIRST).backup_id
    assert world.verify(name, prove="never").verdict == "inconclusive"
    keys = [key for key in world.store.keys() if "/proofs/" not in key]  # noqa: SIM118 - not a mapping
    assert {key.split("/")[1] for key in keys} == {"backups", "chunks"}
    assert len(keys) >= 9, "manifest, schema, globals, large objects, parts, references, chunks"
    return world, name, keys


def flip(body: bytes, bit: int) -> bytes:
    """``body`` with one bit the other way round."""
    place = bit // 8
    return body[:place] + bytes([body[place] ^ (1 << bit % 8)]) + body[place + 1 :]


def found(world: World, name: str) -> str:
    """What a verification says: the codes of its reasons, or the code of its error; empty if all is well."""
    try:
        result = world.verify(name, prove="never")
    except CoffreError as error:
        return error.code
    return "" if result.verdict == "inconclusive" else " ".join(reason.code for reason in result.reasons)


def bits(body: bytes) -> list[int]:
    """Which bits to flip."""
    some = random.Random(SEED)  # noqa: S311 - not for secrets
    return sorted({0, len(body) * 8 - 1, *(some.randrange(len(body) * 8) for _ in range(FLIPS - 2))})


def test_a_bit_flipped_in_any_object_is_found(vault: tuple[World, str, list[str]]) -> None:
    world, name, keys = vault
    before, tried = world.state(), 0
    for key in keys:
        body = world.store.get(key).read()
        for bit in bits(body) if body else ():
            world.reset(before)
            world.store.tamper(key, lambda whole, bit=bit: flip(whole, bit))  # type: ignore[misc]
            assert found(world, name), f"bit {bit} of {key}"
            tried += 1
    print(f"\n{tried} bits flipped in {len(keys)} objects, each found; seed {SEED}")


def test_any_bit_of_a_manifest_is_found(vault: tuple[World, str, list[str]]) -> None:
    """A manifest has no hash beside it: the catalogue remembers it, and so do evidence and events."""
    world, name, _ = vault
    before, key = world.state(), LAYOUT.manifest(name)
    body = world.store.get(key).read()
    for bit in range(0, len(body) * 8, 97):
        world.reset(before)
        world.store.tamper(key, lambda whole, bit=bit: flip(whole, bit))  # type: ignore[misc]
        code = found(world, name)
        assert code in ("manifest-differs", "manifest-invalid", "format-unsupported"), f"bit {bit}: {code}"


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "one byte short": lambda body: body[:-1],
    "one byte more": lambda body: body + b"\0",
    "empty": lambda _: b"",
    "another file": lambda _: b"<html>AccessDenied</html>",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_any_object_that_is_cut_or_replaced_is_found(
    vault: tuple[World, str, list[str]], damage: str
) -> None:
    world, name, keys = vault
    before = world.state()
    for key in keys:
        body = world.store.get(key).read()
        if DAMAGES[damage](body) == body:
            continue
        world.reset(before)
        world.store.tamper(key, DAMAGES[damage])
        assert found(world, name), key


def test_any_object_that_is_missing_is_found(vault: tuple[World, str, list[str]]) -> None:
    world, name, keys = vault
    before = world.state()
    for key in keys:
        world.reset(before)
        world.store.lose(key)
        assert found(world, name) in ("object-missing", "unknown-backup"), key


def test_any_two_objects_that_are_swapped_are_found(
    vault: tuple[World, str, list[str]], source: Target
) -> None:
    world, name, _ = vault
    world.backup(source, SECOND)  # a second backup of the same content: its files have the same kinds
    before = world.state()
    keys = [key for key in world.store.keys() if "/proofs/" not in key]  # noqa: SIM118 - not a mapping
    mine = [key for key in keys if f"/{name}/" in key or "/chunks/" in key]
    for number, key in enumerate(mine):
        for other in keys[number + 1 :]:
            world.reset(before)
            one, two = world.store.get(key).read(), world.store.get(other).read()
            if one != two:
                world.store.tamper(key, lambda _, two=two: two)  # type: ignore[misc]
                world.store.tamper(other, lambda _, one=one: one)  # type: ignore[misc]
                assert found(world, name), f"{key} and {other}"


def test_a_restore_refuses_any_damaged_object_or_reads_its_right_version(
    vault: tuple[World, str, list[str]], server: EphemeralServer, source: Target, postgres_root: object
) -> None:
    world, name, keys = vault
    wanted, there = target(server, "from_damage"), databases(server)
    before = world.state()
    # References are for rotation, globals for restores by hand; the manifest's hash is in the plan.
    needed = [key for key in keys if not re.search(r"/refs/|/globals-|/manifest\.json$", key)]
    for key in needed:
        if not world.store.get(key).read():
            continue
        world.reset(before)
        token = world.plan(wanted, name).token
        world.store.tamper(key, lambda whole: flip(whole, len(whole) * 4))
        with pytest.raises(CoffreError) as refused:
            world.restore(wanted, name, token)
        assert refused.value.code == "object-corrupt", key
        assert key in refused.value.message
        assert databases(server) == there
    world.reset(before)
    token = world.plan(wanted, name).token
    for key in needed:  # a newer version that is wrong hides each of them
        world.store.put(key, b"ransom")
    assert world.restore(wanted, name, token).digests_equal
    assert dumped(postgres_root, wanted) == dumped(postgres_root, source)  # type: ignore[arg-type]


def test_a_manifest_that_was_changed_is_not_what_was_confirmed(
    vault: tuple[World, str, list[str]], server: EphemeralServer
) -> None:
    world, name, _ = vault
    wanted, there = target(server, "not_confirmed"), databases(server)
    token = world.plan(wanted, name).token
    world.store.tamper(LAYOUT.manifest(name), lambda body: body.replace(b'"reason": ""', b'"reason": "x"'))
    with pytest.raises(CoffreError) as refused:
        world.restore(wanted, name, token)
    assert refused.value.code == "plan-changed"
    assert databases(server) == there
