"""A seal's key: made for one place, used again while it may be, refused with the KMS key's name."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from coffre.errors import ManifestInvalidError, SealBrokenError, SealKeyUnavailableError
from coffre.vault.keys import LIFETIME, SealKeys
from coffre.vault.manifest import SEALED, Engine, Manifest, Snapshot, Totals, decode, encode
from coffre.vault.sealed_manifest import close_manifest, open_manifest
from coffre.vault.sealing import UNSEALED, Sealed
from tests.fakes.kms import KEY, OTHER_KEY, MemoryKms
from tests.fakes.store import START, MemoryStore
from tests.fakes.vault import put_backup

FIRST = "20261120T030000Z-daily-000001"
PLACE = f"shop/backups/{FIRST}/manifest.json"


class World:
    """A vault whose newest backup is sealed."""

    def __init__(self) -> None:
        self.store, self.kms = MemoryStore(), MemoryKms()
        self.keys = SealKeys(lambda region: self.kms if region == "us-east-1" else None, "us-east-1")
        self.seal = self.keys.for_backup(self.store, "shop", KEY, START)
        made, _ = put_backup(self.store, FIRST, [b"row\n"])
        self.manifest = made.model_copy(
            update={
                "seal": self.seal.key,
                "requires": [*made.requires, SEALED],
                "reason": "before the quetzals go",
                "needs": ["collation:quetzal"],
                "totals": made.totals.model_copy(update={"rows": 123_456}),
            }
        )
        self.body = encode(close_manifest(self.manifest, self.seal))
        self.store.tamper(PLACE, lambda _: self.body)

    @property
    def closed(self) -> Manifest:
        return decode(self.body, key=PLACE)

    def again(self, kms_key: str | None = KEY, *, since: datetime | None = None, **later: float) -> str:
        """The id of the seal of a backup that is taken later."""
        seal = self.keys.for_backup(self.store, "shop", kms_key, START + timedelta(**later), since)
        return seal.key.id if seal.key else ""


@pytest.fixture
def world() -> World:
    return World()


def test_a_backup_goes_on_with_the_newest_ones_key_while_it_may(world: World) -> None:
    assert isinstance(world.seal, Sealed)
    assert world.again(hours=1) == world.again(days=300) == world.seal.key.id
    assert world.again(days=LIFETIME.days) != world.seal.key.id, "an old key"
    assert world.again(OTHER_KEY) != world.seal.key.id, "another KMS key"
    assert world.again(None) == ""
    assert world.again(since=START) == world.seal.key.id
    assert world.again(since=START + timedelta(seconds=1)) != world.seal.key.id, "a new one is asked for"
    world.store.bucket = "another"
    assert world.again() != world.seal.key.id, "another vault"


@pytest.mark.parametrize(
    "change",
    [
        {"created": "2026-11-20T04:00:00.000000Z"},
        {"created": "2026-99-20T04:00:00.000000Z"},
        {"seal": "0" * 32},
    ],
)
def test_who_alters_the_newest_manifest_stops_no_backup(world: World, change: dict[str, str]) -> None:
    assert world.seal.key is not None
    context = world.seal.key.context.model_copy(update=change)
    closed = world.closed.model_copy(update={"seal": world.seal.key.model_copy(update={"context": context})})
    world.store.tamper(PLACE, lambda _: encode(closed))
    assert world.again(hours=1) not in ("", world.seal.key.id, "0" * 32)


@pytest.mark.parametrize("wrapped", ["A", "A" * 9000, "====", "not base64"])
def test_a_wrapped_key_that_kms_could_not_read_stops_no_backup(world: World, wrapped: str) -> None:
    assert world.seal.key is not None
    altered = world.body.replace(world.seal.key.wrapped.encode(), wrapped.encode())
    assert altered != world.body
    world.store.tamper(PLACE, lambda _: altered)
    with pytest.raises(ManifestInvalidError):
        decode(altered, key=PLACE)
    assert world.again(hours=1) not in ("", world.seal.key.id)


@pytest.mark.parametrize("missing", ["seal", "sealed", "requires"])
def test_a_manifest_that_is_only_in_part_a_sealed_one_is_refused(world: World, missing: str) -> None:
    update = {missing: [] if missing == "requires" else None}
    with pytest.raises(ManifestInvalidError, match="only a part"):
        decode(encode(world.closed.model_copy(update=update)), key=PLACE)


def test_a_replica_of_the_kms_key_in_this_region_is_asked_first(world: World) -> None:
    """When the first region is gone, a copy in another one can be opened there."""
    there = KEY.replace("key/", "key/mrk-")
    here = there.replace("us-east-1", "eu-west-1")
    asked: list[str] = []

    def client(region: str) -> MemoryKms:
        asked.append(region)
        return world.kms

    seal = SealKeys(client, "us-east-1").for_backup(MemoryStore(), "shop", there, START)
    assert seal.key is not None
    world.kms.replicas[here] = there
    keys = SealKeys(client, "eu-west-1")
    world.kms.refusals[there] = "KMSInternalException"
    asked.clear()
    assert keys.unwrap(seal.key) == seal
    assert asked == ["eu-west-1"]
    world.kms.refusals = {here: "NotFoundException"}
    assert keys.unwrap(seal.key) == seal, "there is none in this region"
    world.kms.refusals[there] = "DisabledException"
    with pytest.raises(SealKeyUnavailableError, match=there):
        keys.unwrap(seal.key)


def test_an_altered_context_opens_nothing(world: World) -> None:
    assert world.seal.key is not None
    for change in ({"created": "2030-01-01T00:00:00.000000Z"}, {"vault": "another"}, {"seal": "0" * 32}):
        context = world.seal.key.context.model_copy(update=change)
        with pytest.raises(SealBrokenError):
            world.keys.unwrap(world.seal.key.model_copy(update={"context": context}))


def test_a_seal_of_another_database_is_refused(world: World) -> None:
    with pytest.raises(SealBrokenError, match="another database"):
        world.keys.of(world.manifest.model_copy(update={"database": "other"}))


def test_a_held_seal_is_not_asked_for_again(world: World) -> None:
    world.kms.calls.clear()
    assert world.keys.of(world.closed, world.seal) is world.seal
    assert world.keys.of(world.closed.model_copy(update={"seal": None})) is UNSEALED
    assert world.kms.calls == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("DisabledException", "is disabled"),
        ("KMSInvalidStateException", "its deletion"),
        ("AccessDeniedException", "may not be used by this role"),
        ("NotFoundException", "doesn't exist"),
    ],
)
def test_a_key_that_cant_be_used_is_named_with_what_to_do(world: World, answer: str, said: str) -> None:
    world.kms.refusals[KEY] = answer
    for attempt in (lambda: world.keys.of(world.closed), lambda: world.again(days=400)):
        with pytest.raises(SealKeyUnavailableError, match=said) as caught:
            attempt()
        assert KEY in caught.value.message
        assert caught.value.hint not in ("", SealKeyUnavailableError.advice)


def test_a_key_that_waits_for_its_deletion_is_told_with_the_day(world: World) -> None:
    assert world.seal.key is not None
    assert world.keys.probe(world.seal.key) is None
    world.kms.refusals[KEY] = "KMSInvalidStateException"
    error = world.keys.probe(world.seal.key)
    assert error is not None
    assert error.message == f"the KMS key {KEY} will be deleted on 2026-12-24"


def test_a_manifest_shows_what_rotation_needs_and_hides_the_rest(world: World) -> None:
    closed = world.closed
    assert closed.is_closed
    assert (closed.id, closed.parts, closed.refs) == (FIRST, world.manifest.parts, world.manifest.refs)
    assert (closed.reason, closed.needs, closed.totals.rows) == ("", [], 0)
    assert b"quetzal" not in world.body
    assert b"123456" not in world.body.replace(b"123456789012", b"")
    opened = open_manifest(closed, world.seal)
    assert opened == world.manifest
    assert not opened.is_closed


def test_no_field_of_a_manifest_is_told_by_mistake(world: World) -> None:
    """Who adds a field decides whether it is sealed."""
    told = {"format", "requires", "id", "attempt", "database", "type", "started", "completed", "locale"}
    told |= {"settings", "files", "parts", "refs", "seal", "sealed"}
    in_part = {"engine", "snapshot", "totals"}
    empty = {name for name, value in world.closed.model_dump().items() if not value}
    assert empty >= set(Manifest.model_fields) - told - in_part
    assert set(Engine.model_fields) == {
        "name",
        "server_version",
        "server_version_num",
        "tools_version",
        "system_identifier",
        "database",
        "database_oid",
    }
    assert set(Snapshot.model_fields) == {"lsn", "transactions", "taken"}
    assert set(Totals.model_fields) == {
        "relations",
        "sequences",
        "rows",
        "bytes",
        "chunks",
        "stored_bytes",
        "new_chunks",
        "new_bytes",
        "large_objects",
    }


@pytest.mark.parametrize("part", ["parts", "completed", "seal", "sealed", "format"])
def test_halves_that_dont_belong_together_are_refused(world: World, part: str) -> None:
    closed = world.closed
    other = World()
    changes = {
        "parts": {"parts": []},
        "completed": {"completed": "2026-11-21T00:00:00.000000Z"},
        "seal": {"sealed": other.closed.sealed},
        "sealed": {"sealed": (closed.sealed or "")[:-8] + "AAAAAAA="},
        "format": {"sealed": "not base64"},
    }
    with pytest.raises(SealBrokenError):
        open_manifest(closed.model_copy(update=changes[part]), world.seal)


def test_a_manifest_without_a_seal_has_the_bytes_that_it_always_had() -> None:
    made, _ = put_backup(MemoryStore(), FIRST, [b"row\n"])
    assert close_manifest(made, UNSEALED) == made
    assert b'"seal' not in encode(made)
