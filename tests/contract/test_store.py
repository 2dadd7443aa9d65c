"""What `ObjectStore` promises, against real HTTP endpoints.

``make test`` holds the local cloud's S3 against it, ``make test-stores`` other people's servers (STORES names
them).  What a store doesn't do stands in ``DIFFERENCES``: such a test must fail there, so that the list stays
true.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import re
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
from botocore.awsrequest import AWSResponse

from coffre.errors import (
    CoffreError,
    DeleteRefusedError,
    ObjectCorruptError,
    ObjectExistsError,
    ObjectMissingError,
    StoreUnavailableError,
)
from coffre.ids import utc_now
from coffre.vault import signed
from coffre.vault.objects import Version
from coffre.vault.signed import SignedRequests
from coffre.vault.store import ObjectStore
from tests.support.proxy import Answer, CutAnswer, CutRequest, LostAnswer, Proxy, Silence
from tests.support.stores import STORES, Endpoint

DIFFERENCES: dict[str, dict[str, str]] = {
    "local": {
        "test_a_presigned_url_expires": "moto checks no signatures",
        "test_a_presigned_url_that_was_altered_is_refused": "moto checks no signatures",
        "test_a_presigned_url_only_reads": "moto checks no signatures",
        "test_wrong_credentials_are_refused_and_not_shown": "moto checks no signatures",
        "test_a_folder_without_a_visible_object_is_not_listed": "moto lists folders of hidden objects",
    },
    "localstack": {
        "test_wrong_credentials_are_refused_and_not_shown": "LocalStack checks signatures in URLs only",
        "test_a_version_may_be_deleted_twice": "LocalStack doesn't know the version any more",
        "test_a_listing_starts_after_an_odd_key": "LocalStack compares it with encoded keys",
    },
    "swift": {
        "test_a_write_that_is_refused_leaves_no_version": "Swift keeps the loser's body as an old version",
        "test_the_checksum_is_stored_and_given_back": "Swift checks the checksum and doesn't keep it",
        "test_a_write_whose_answer_is_lost_finds_its_own_object": "Swift keeps no checksum to tell it by",
        "test_a_version_under_a_lock_is_not_deleted_and_says_so": "Swift has no Object Lock",
        "test_of_many_versions_those_under_a_lock_stay_and_are_told": "Swift has no Object Lock",
        "test_the_buckets_lifecycle_rules_are_told": "Swift has no lifecycle rules",
    },
}
"""What a store doesn't do: the names of the tests that fail there, and why."""

CHANCES = {
    "local": {},
    "localstack": {},
    "swift": {
        "test_of_many_writers_at_once_exactly_one_wins": "Swift looks first and writes then: 1 to 4 won"
    },
}
"""The same of what a store does now and then, so that its tests can't be run there."""

CROWD = [f"many/{n:04}/x" for n in range(1005)]
"""More objects and more folders than a page of a listing holds."""
MARKED = "many/0000/w"
SLOW_DOWN = Answer(503, "SlowDown")
ALWAYS = 1000
ODD = [
    "a b",
    "a+b",
    "a%20b",
    "%41",
    "a&b=c?d#e",
    "quote\"'",
    "<xml>",
    "ü",
    "字",
    "💾",
    "~tilde",
    "a//b",
    "(x)!*$",
]

_names = (f"contract-{n}" for n in itertools.count(1))


@pytest.fixture(scope="module", params=os.environ.get("STORES", "local").split())
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A store that runs."""
    with STORES[request.param](tmp_path_factory.mktemp(request.param)) as started:
        yield started


@pytest.fixture(autouse=True)
def _expect_differences(request: pytest.FixtureRequest, endpoint: Endpoint) -> None:
    name = request.node.originalname
    if name in CHANCES[endpoint.name]:
        pytest.skip(f"{endpoint.name}: {CHANCES[endpoint.name][name]}")
    if reason := DIFFERENCES[endpoint.name].get(name):
        request.node.add_marker(pytest.mark.xfail(reason=f"{endpoint.name}: {reason}", strict=True))


def make_bucket(endpoint: Endpoint, versioning: str = "Enabled", *, lock: bool = False) -> str:
    """A new bucket of a store; its name."""
    client, name = endpoint.s3, next(_names)
    client.create_bucket(Bucket=name, **({"ObjectLockEnabledForBucket": True} if lock else {}))
    if versioning and not lock:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": versioning})
    return name


@pytest.fixture
def store(endpoint: Endpoint) -> ObjectStore:
    """A vault of its own for each test."""
    return ObjectStore(endpoint.s3, make_bucket(endpoint))


@pytest.fixture
def proxy(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Stands between `nearby` and the store; retries come at once."""
    at_once = signed._RETRIES.new(backoff_factor=0, backoff_jitter=0)
    monkeypatch.setattr(signed, "_RETRIES", at_once)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    with Proxy(endpoint.url) as started:
        yield started


@pytest.fixture
def nearby(endpoint: Endpoint, store: ObjectStore, proxy: Proxy) -> ObjectStore:
    """The same vault as `store`, seen through the proxy."""
    return ObjectStore(endpoint.client(endpoint_url=proxy.url), store.bucket)


@pytest.fixture(scope="module")
def crowded(endpoint: Endpoint) -> ObjectStore:
    """A vault with `CROWD` in it and one more that is behind a delete marker; tests only read it."""
    made = ObjectStore(endpoint.s3, make_bucket(endpoint))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: write(made, key, key.encode()), [MARKED, *CROWD]))
    made.mark_deleted(MARKED)
    return made


def write(store: ObjectStore, key: str, body: bytes) -> None:
    """Write an object from memory."""
    store.put_new(key, body, size=len(body), sha256=hashlib.sha256(body).hexdigest())


def write_file(store: ObjectStore, key: str, body: bytes) -> None:
    """Write an object from a file."""
    with tempfile.TemporaryFile() as file:
        file.write(body)
        store.put_new(key, file, size=len(body), sha256=hashlib.sha256(body).hexdigest())


def read(store: ObjectStore, key: str, version: str | None = None) -> bytes:
    """An object, whole."""
    return store.read(key, limit=1 << 26, version=version)


def versions(store: ObjectStore, key: str) -> tuple[list[Version], list[Version]]:
    """A key's versions, newest first, and its delete markers."""
    found = [version for version in store.versions(key) if version.key == key]
    return [v for v in found if not v.marker], [v for v in found if v.marker]


def fetch(url: str, method: str = "GET") -> bytes:
    """What a URL holds, for somebody without credentials."""
    request = urllib.request.Request(url, method=method)  # noqa: S310 - a URL of the test's own
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        content: bytes = answer.read()
    return content


def refused(url: str, method: str = "GET") -> bool:
    """Whether the store refuses a URL."""
    try:
        fetch(url, method)
    except urllib.error.HTTPError as error:
        return error.code in (400, 401, 403)
    return False


Write = Callable[[ObjectStore, str, bytes], None]
both_ways = pytest.mark.parametrize("put", [write, write_file], ids=["bytes", "file"])

# Writing


@both_ways
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_an_object_is_given_back_as_it_was_written(store: ObjectStore, put: Write, size: int) -> None:
    body = os.urandom(size)

    put(store, "shop/object", body)

    assert read(store, "shop/object") == body


def test_a_large_object_is_written_from_a_file(store: ObjectStore) -> None:
    block, blocks = os.urandom(1 << 20), 24
    digest = hashlib.sha256(block * blocks)
    with tempfile.TemporaryFile() as file:
        for _ in range(blocks):
            file.write(block)
        store.put_new("large", file, size=blocks << 20, sha256=digest.hexdigest())

    found = hashlib.sha256()
    with store.get("large") as body:
        while piece := body.read(100_000):
            found.update(piece)
    assert found.digest() == digest.digest()


@both_ways
def test_an_object_is_never_overwritten(store: ObjectStore, put: Write) -> None:
    put(store, "once", b"first")

    for second in (write, write_file):
        with pytest.raises(ObjectExistsError):
            second(store, "once", b"second")

    assert read(store, "once") == b"first"


@both_ways
def test_a_write_that_is_refused_leaves_no_version(store: ObjectStore, put: Write) -> None:
    put(store, "once", b"first")

    with pytest.raises(ObjectExistsError):
        put(store, "once", b"second")

    assert len(versions(store, "once")[0]) == 1


@both_ways
def test_of_many_writers_at_once_exactly_one_wins(store: ObjectStore, put: Write) -> None:
    start = threading.Barrier(32)

    def attempt(number: int) -> int | None:
        start.wait()
        try:
            put(store, "prize", b"writer %d" % number)
        except ObjectExistsError:
            return None
        return number

    with ThreadPoolExecutor(32) as threads:
        winners = [number for number in threads.map(attempt, range(32)) if number is not None]

    assert [read(store, "prize")] == [b"writer %d" % number for number in winners]


@both_ways
def test_the_checksum_is_stored_and_given_back(store: ObjectStore, put: Write) -> None:
    before = utc_now() - timedelta(minutes=1)
    put(store, "checked", b"content")

    seen = store.head("checked")

    assert seen is not None
    assert (seen.key, seen.size) == ("checked", 7)
    assert seen.sha256 == hashlib.sha256(b"content").hexdigest()
    assert before < seen.modified < before + timedelta(minutes=10)


@pytest.mark.parametrize("as_file", [False, True])
def test_a_body_that_its_checksum_is_not_of_is_refused(store: ObjectStore, as_file: bool) -> None:
    body: bytes | BinaryIO = io.BytesIO(b"content") if as_file else b"content"

    with pytest.raises(StoreUnavailableError):
        store.put_new("wrong", body, size=7, sha256=hashlib.sha256(b"another").hexdigest())

    assert store.head("wrong") is None


@both_ways
def test_a_body_that_is_cut_on_its_way_leaves_nothing(
    store: ObjectStore, nearby: ObjectStore, proxy: Proxy, put: Write
) -> None:
    proxy.fail(CutRequest(after=50_000), ALWAYS)

    with pytest.raises(StoreUnavailableError):
        put(nearby, "cut", bytes(100_000))

    assert store.head("cut") is None


# Reading


def test_an_object_is_read_as_it_arrives(store: ObjectStore, nearby: ObjectStore, proxy: Proxy) -> None:
    write(store, "stream", bytes(2_000_000))
    proxy.fail(CutAnswer(after=1_000_000))

    with nearby.get("stream") as body:
        assert body.read(1000) == bytes(1000)  # the rest never comes


@pytest.mark.parametrize("after", [0, 1, 1_999_999])
def test_a_connection_that_breaks_in_mid_read_is_never_an_end(
    store: ObjectStore, nearby: ObjectStore, proxy: Proxy, after: int
) -> None:
    write(store, "broken", bytes(2_000_000))
    proxy.fail(CutAnswer(after))

    with pytest.raises(StoreUnavailableError, match="broken"), nearby.get("broken") as body:
        while body.read(100_000):
            pass


def test_what_is_not_there_is_missing(store: ObjectStore) -> None:
    write(store, "there/object", b"content")

    for key in ("there", "there/", "there/object/", "there/objec", "nowhere"):
        assert store.head(key) is None
        with pytest.raises(ObjectMissingError):
            store.get(key)


def test_a_bucket_that_is_gone_is_not_an_object_that_is(endpoint: Endpoint) -> None:
    gone = ObjectStore(endpoint.s3, "never-made")

    with pytest.raises(StoreUnavailableError):
        gone.get("object")
    with pytest.raises(StoreUnavailableError):
        list(gone.objects("shop/"))
    for put in (write, write_file):
        with pytest.raises(StoreUnavailableError):
            put(gone, "object", b"content")


def test_an_object_above_its_limit_is_not_read(store: ObjectStore) -> None:
    write(store, "long", b"12345")

    assert store.read("long", limit=5) == b"12345"
    with pytest.raises(ObjectCorruptError):
        store.read("long", limit=4)


def test_another_process_reads_and_writes_the_same(store: ObjectStore) -> None:
    there = SignedRequests.handed_over(store.hand_over())

    assert there.put("shared", b"content", hashlib.sha256(b"content").hexdigest()) == (200, False)
    assert read(store, "shared") == b"content"
    with there.get("shared") as body:
        assert body.read() == b"content"
    without_client = ObjectStore(None, store.bucket, there)
    assert without_client.head("shared") == store.head("shared")
    assert without_client.head("elsewhere") is None


# Versions and delete markers


def test_a_delete_marker_hides_an_object_and_keeps_it(store: ObjectStore) -> None:
    write(store, "hidden", b"content")

    store.mark_deleted("hidden")

    assert store.head("hidden") is None
    assert list(store.objects("hidden")) == []
    with pytest.raises(ObjectMissingError):
        store.get("hidden")
    ((version,), (marker,)) = versions(store, "hidden")
    assert (version.latest, marker.latest) == (False, True)
    assert (version.size, marker.size) == (7, 0)
    assert read(store, "hidden", version.version) == b"content"


@both_ways
def test_a_key_behind_a_delete_marker_can_be_written_again(store: ObjectStore, put: Write) -> None:
    put(store, "again", b"first")
    store.mark_deleted("again")

    put(store, "again", b"second")

    found, markers = versions(store, "again")
    assert [read(store, "again", v.version) for v in found] == [b"second", b"first"]
    assert [v.latest for v in found] == [True, False]
    assert len(markers) == 1


def test_an_object_comes_back_when_its_delete_marker_goes(store: ObjectStore) -> None:
    write(store, "back", b"content")
    store.mark_deleted("back")
    _, (marker,) = versions(store, "back")

    store.delete_version("back", marker.version)

    assert read(store, "back") == b"content"


def test_a_version_that_was_deleted_is_gone_and_the_others_are_not(store: ObjectStore) -> None:
    write(store, "gone", b"first")
    store.mark_deleted("gone")
    write(store, "gone", b"second")
    (newer, older), _ = versions(store, "gone")

    store.delete_version("gone", older.version)

    with pytest.raises(ObjectMissingError):
        store.get("gone", older.version)
    assert read(store, "gone", newer.version) == b"second"
    assert [v.version for v in versions(store, "gone")[0]] == [newer.version]


def test_a_version_may_be_deleted_twice(store: ObjectStore) -> None:
    write(store, "gone", b"content")
    store.mark_deleted("gone")
    ((version,), (marker,)) = versions(store, "gone")

    store.delete_version("gone", version.version)
    store.delete_version("gone", version.version)

    assert versions(store, "gone") == ([], [marker])


def test_a_delete_marker_is_no_version_to_read(store: ObjectStore) -> None:
    write(store, "marked", b"content")
    store.mark_deleted("marked")
    _, (marker,) = versions(store, "marked")

    with pytest.raises(ObjectMissingError):
        store.get("marked", marker.version)


def test_a_version_under_a_lock_is_not_deleted_and_says_so(endpoint: Endpoint) -> None:
    client = endpoint.s3
    store = ObjectStore(client, make_bucket(endpoint, lock=True))
    until = utc_now() + timedelta(days=1)
    write(store, "retained", b"content")
    write(store, "held", b"content")
    retention = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
    client.put_object_retention(Bucket=store.bucket, Key="retained", Retention=retention)
    client.put_object_legal_hold(Bucket=store.bucket, Key="held", LegalHold={"Status": "ON"})

    for key in ("retained", "held"):
        store.mark_deleted(key)
        (version,), _ = versions(store, key)
        with pytest.raises(DeleteRefusedError, match=key):
            store.delete_version(key, version.version)
        assert read(store, key, version.version) == b"content"


# Many at once


def test_more_keys_than_a_request_takes_are_hidden_and_deleted(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coffre.vault.store.DELETES", len(ODD) // 2)
    for key in (*ODD, "other"):
        write(store, key, b"content")

    store.mark_all_deleted(ODD)

    assert [item.key for item in store.objects("")] == ["other"]
    assert all(read(store, v.key, v.version) == b"content" for v in store.versions("") if not v.marker)

    doomed = [v for v in store.versions("") if v.key != "other"]
    assert store.delete_versions([v for v in doomed if not v.marker]) == set()
    assert store.delete_versions([v for v in doomed if v.marker]) == set()

    assert [v.key for v in store.versions("")] == ["other"]
    assert store.delete_versions(doomed) == set(), "a delete may be repeated"


def test_nothing_to_delete_asks_nothing(nearby: ObjectStore, proxy: Proxy) -> None:
    nearby.mark_all_deleted([])

    assert nearby.delete_versions([]) == set()
    assert proxy.requests == 0


def test_of_many_versions_those_under_a_lock_stay_and_are_told(endpoint: Endpoint) -> None:
    client = endpoint.s3
    store = ObjectStore(client, make_bucket(endpoint, lock=True))
    for key in ("first", "held", "last"):
        write(store, key, b"content")
    client.put_object_legal_hold(Bucket=store.bucket, Key="held", LegalHold={"Status": "ON"})

    assert store.delete_versions(list(store.versions(""))) == {"held"}

    assert [item.key for item in store.objects("")] == ["held"]


@pytest.fixture
def reluctant(endpoint: Endpoint, store: ObjectStore) -> ObjectStore:
    """The same vault as `store`, which deletes none of the many of a request."""
    client = endpoint.client()

    def answer(request: Any, **_: Any) -> AWSResponse:
        keys = re.findall(rb"<Key>.*?</Key>", request.body)
        errors = b"".join(b"<Error>" + key + b"<Code>InternalError</Code></Error>" for key in keys)
        body = b"<DeleteResult>" + errors + b"</DeleteResult>"
        return AWSResponse(request.url, 200, {}, SimpleNamespace(stream=lambda: iter([body])))

    client.meta.events.register("before-send.s3.DeleteObjects", answer)
    return ObjectStore(client, store.bucket)


def test_what_was_not_deleted_with_the_others_is_tried_alone(
    store: ObjectStore, reluctant: ObjectStore
) -> None:
    for key in ("a", "b"):
        write(store, key, b"content")

    reluctant.mark_all_deleted(["a", "b"])

    assert list(store.objects("")) == []
    assert reluctant.delete_versions(list(store.versions(""))) == set()
    assert list(store.versions("")) == []


# Listing


def test_more_objects_than_a_page_holds_are_listed_in_order(crowded: ObjectStore) -> None:
    found = list(crowded.objects("many/"))

    assert [item.key for item in found] == CROWD
    assert {item.size for item in found} == {len(CROWD[0])}


@pytest.mark.parametrize(("start", "first"), [(CROWD[2], 3), ("many/0002", 2), (CROWD[-1], len(CROWD))])
def test_a_listing_starts_after_a_key(crowded: ObjectStore, start: str, first: int) -> None:
    assert [item.key for item in crowded.objects("many/", start)] == CROWD[first:]


def test_more_folders_than_a_page_holds_are_listed(crowded: ObjectStore) -> None:
    assert list(crowded.folders("many/")) == [f"{n:04}/" for n in range(len(CROWD))]
    assert list(crowded.folders("")) == ["many/"]
    assert list(crowded.folders("none/")) == []


def test_a_folder_without_a_visible_object_is_not_listed(store: ObjectStore) -> None:
    write(store, "a/x", b"")
    write(store, "b/x", b"")
    store.mark_deleted("a/x")

    assert list(store.folders("")) == ["b/"]


def test_more_versions_than_a_page_holds_are_listed_with_the_markers(crowded: ObjectStore) -> None:
    found = list(crowded.versions("many/"))

    assert [v.key for v in found] == [MARKED, MARKED, *CROWD]
    assert [v.key for v in found if v.marker] == [MARKED]
    assert len({(v.key, v.version) for v in found}) == len(found)


def test_a_prefix_is_not_a_pattern_and_ends_where_it_ends(store: ObjectStore) -> None:
    for key in ("app/x", "app-prod/x", "ap", "app"):
        write(store, key, b"")

    assert [item.key for item in store.objects("app/")] == ["app/x"]
    assert [v.key for v in store.versions("app/")] == ["app/x"]
    assert [item.key for item in store.objects("app")] == ["app", "app-prod/x", "app/x"]


def test_odd_keys_are_keys_as_any_others(store: ObjectStore) -> None:
    for key in ODD:
        write(store, f"odd/{key}", key.encode())

    in_order = sorted((f"odd/{key}" for key in ODD), key=str.encode)
    assert [item.key for item in store.objects("odd/")] == in_order
    assert [v.key for v in store.versions("odd/")] == in_order
    for key in in_order:
        assert fetch(store.presigned(key, seconds=60)) == key.removeprefix("odd/").encode()
        store.mark_deleted(key)
        (version,), _ = versions(store, key)
        assert read(store, key, version.version) == key.removeprefix("odd/").encode()
        store.delete_version(key, version.version)
    assert not any(not v.marker for v in store.versions("odd/"))


def test_a_listing_starts_after_an_odd_key(store: ObjectStore) -> None:
    for key in ("a b", "a%20b", "a%20c", "ä"):
        write(store, key, b"")

    assert [item.key for item in store.objects("", "a b")] == ["a%20b", "a%20c", "ä"]
    assert [item.key for item in store.objects("", "a%20b")] == ["a%20c", "ä"]
    assert [item.key for item in store.objects("", "ä")] == []


# Presigned URLs


def test_a_presigned_url_reads_an_object_or_one_version_of_it(store: ObjectStore) -> None:
    write(store, "shared", b"first")
    store.mark_deleted("shared")
    write(store, "shared", b"second")
    (_, older), _ = versions(store, "shared")

    assert fetch(store.presigned("shared", seconds=60)) == b"second"
    assert fetch(store.presigned("shared", seconds=60, version=older.version)) == b"first"


def test_a_presigned_url_expires(store: ObjectStore) -> None:
    write(store, "shared", b"content")
    url = store.presigned("shared", seconds=1)

    end = time.monotonic() + 2
    while not refused(url):
        assert time.monotonic() < end, "the URL still works"
        time.sleep(0.2)


@pytest.mark.parametrize(
    "change", [("shared", "secret"), ("Expires=60", "Expires=600"), ("Signature=", "Signature=0")]
)
def test_a_presigned_url_that_was_altered_is_refused(store: ObjectStore, change: tuple[str, str]) -> None:
    write(store, "shared", b"content")
    write(store, "secret", b"content")

    assert refused(store.presigned("shared", seconds=60).replace(*change))


def test_a_presigned_url_only_reads(store: ObjectStore) -> None:
    write(store, "shared", b"content")

    assert refused(store.presigned("shared", seconds=60), "DELETE")
    assert read(store, "shared") == b"content"


# The bucket


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_the_buckets_versioning_is_told(endpoint: Endpoint, status: str) -> None:
    assert ObjectStore(endpoint.s3, make_bucket(endpoint, status)).versioning() == status


def test_a_bucket_that_never_kept_versions_says_off(endpoint: Endpoint) -> None:
    assert ObjectStore(endpoint.s3, make_bucket(endpoint, "")).versioning() == "Off"


def test_a_bucket_without_lifecycle_rules_has_none(store: ObjectStore) -> None:
    assert store.lifecycle_rules() == []


def test_the_buckets_lifecycle_rules_are_told(endpoint: Endpoint, store: ObjectStore) -> None:
    rule = {"ID": "eat", "Status": "Enabled", "Filter": {"Prefix": "shop/"}, "Expiration": {"Days": 3}}
    endpoint.s3.put_bucket_lifecycle_configuration(
        Bucket=store.bucket, LifecycleConfiguration={"Rules": [rule]}
    )

    (told,) = store.lifecycle_rules()

    assert {name: told[name] for name in rule} == rule


# Trouble


@pytest.mark.parametrize("wrong", ["aws_access_key_id", "aws_secret_access_key"])
def test_wrong_credentials_are_refused_and_not_shown(
    endpoint: Endpoint, store: ObjectStore, wrong: str
) -> None:
    write(store, "object", b"content")
    stranger = ObjectStore(endpoint.client(**{wrong: "open-sesame"}), store.bucket)
    attempts: list[Callable[[], Any]] = [
        lambda: read(stranger, "object"),
        lambda: stranger.head("object"),
        lambda: list(stranger.objects("")),
        lambda: list(stranger.versions("")),
        lambda: write(stranger, "new", b"content"),
        lambda: write_file(stranger, "new", b"content"),
        lambda: stranger.mark_deleted("object"),
        lambda: stranger.mark_all_deleted(["object"]),
    ]

    for attempt in attempts:
        with pytest.raises(StoreUnavailableError) as caught:
            attempt()
        assert "open-sesame" not in str(caught.value)
    assert [item.key for item in store.objects("")] == ["object"]


def operations(store: ObjectStore, put_key: str) -> dict[str, Callable[[], Any]]:
    """Everything that a store is asked, by name."""
    return {
        "write": lambda: write(store, put_key, b"content"),
        "write a file": lambda: write_file(store, f"{put_key}-file", b"content"),
        "read": lambda: read(store, "object"),
        "head": lambda: store.head("object"),
        "list": lambda: list(store.objects("")),
        "mark": lambda: store.mark_deleted("other"),
        "mark many": lambda: store.mark_all_deleted(["other", "another"]),
        "versioning": store.versioning,
    }


@pytest.mark.parametrize("answer", [SLOW_DOWN, Answer(500, "InternalError")], ids=lambda a: a.code)
@pytest.mark.parametrize("operation", operations(ObjectStore.__new__(ObjectStore), ""))
def test_a_store_that_is_overtaxed_is_asked_again(
    store: ObjectStore, nearby: ObjectStore, proxy: Proxy, operation: str, answer: Answer
) -> None:
    write(store, "object", b"content")
    proxy.fail(answer)

    operations(nearby, "new")[operation]()

    assert proxy.requests == 2


@pytest.mark.parametrize("answer", [SLOW_DOWN, Answer(500, "InternalError")], ids=lambda a: a.code)
def test_a_deletion_of_many_versions_is_asked_again(
    store: ObjectStore, nearby: ObjectStore, proxy: Proxy, answer: Answer
) -> None:
    write(store, "object", b"content")
    versions = list(store.versions("object"))
    proxy.fail(answer)

    nearby.delete_versions(versions)

    assert proxy.requests == 2
    assert not list(store.versions("object"))


def test_a_store_cannot_ask_for_hours_of_patience(
    nearby: ObjectStore, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", slept.append)
    proxy.fail(Answer(503, "SlowDown", {"Retry-After": "7200"}))

    write(nearby, "new", b"content")

    assert len(slept) == 1
    assert slept[0] <= 10


@pytest.mark.parametrize("operation", ["write", "write a file", "read", "head", "list"])
def test_a_store_that_stays_overtaxed_is_given_up(
    store: ObjectStore, nearby: ObjectStore, proxy: Proxy, operation: str
) -> None:
    write(store, "object", b"content")
    proxy.fail(SLOW_DOWN, ALWAYS)

    with pytest.raises(StoreUnavailableError):
        operations(nearby, "new")[operation]()

    assert 1 < proxy.requests <= 5
    assert [item.key for item in store.objects("")] == ["object"]


@pytest.mark.parametrize("operation", ["write", "read"])
def test_a_store_that_does_not_answer_is_given_up(
    endpoint: Endpoint, store: ObjectStore, proxy: Proxy, operation: str
) -> None:
    impatient = ObjectStore(endpoint.client(endpoint_url=proxy.url, read_timeout=0.2), store.bucket)
    proxy.fail(Silence(), ALWAYS)

    with pytest.raises(StoreUnavailableError, match=r"Time|Retry"):
        operations(impatient, "new")[operation]()

    assert 1 < proxy.requests <= 5


@both_ways
def test_a_write_that_meets_another_is_tried_again(nearby: ObjectStore, proxy: Proxy, put: Write) -> None:
    proxy.fail(Answer(409, "ConditionalRequestConflict"), 2)

    put(nearby, "new", b"content")

    assert read(nearby, "new") == b"content"


@both_ways
def test_a_write_whose_answer_is_lost_finds_its_own_object(
    nearby: ObjectStore, proxy: Proxy, put: Write
) -> None:
    proxy.fail(LostAnswer())

    put(nearby, "new", b"content")

    assert read(nearby, "new") == b"content"
    assert len(versions(nearby, "new")[0]) == 1


@both_ways
def test_a_write_whose_answer_is_lost_does_not_take_another_object_for_its_own(
    store: ObjectStore, nearby: ObjectStore, proxy: Proxy, put: Write
) -> None:
    write(store, "once", b"another")
    proxy.fail(LostAnswer())

    with pytest.raises(ObjectExistsError):
        put(nearby, "once", b"content")

    assert read(store, "once") == b"another"


def test_nobody_listens(endpoint: Endpoint, proxy: Proxy) -> None:
    nowhere = ObjectStore(endpoint.client(endpoint_url="http://127.0.0.1:1"), "bucket")

    for attempt in operations(nowhere, "new").values():
        with pytest.raises(CoffreError) as caught:
            attempt()
        assert isinstance(caught.value, StoreUnavailableError)
