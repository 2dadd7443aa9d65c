"""Lets one call of a run fail, the n-th, in one of the ways in which calls fail.

Everything that a verb asks of S3, DynamoDB and EventBridge passes through one `Injector`, which counts.  The
services live in the memory of this process.  A run that is to be killed is a real process, a fork of this
one: when its turn comes, what the services hold by then is written down, and it kills itself.
"""

from __future__ import annotations

import enum
import io
import itertools
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from botocore.exceptions import ClientError, ReadTimeoutError, ResponseStreamingError

from coffre.errors import ObjectExistsError, StoreUnavailableError
from coffre.vault.objects import ObjectInfo, Version
from tests.fakes.dynamodb import MemoryDynamo, MemoryEvents
from tests.fakes.store import MemoryStore

T = TypeVar("T")
DIE = signal.SIGUSR1


class Way(enum.Enum):
    """How a call fails."""

    ERROR = "refused"
    """Nothing happens, and the caller is told."""
    TIMEOUT = "done, but the answer never comes"
    CUT = "done, but the answer breaks off"
    DOUBLED = "sent twice, as a retry below does, and the second answer counts"
    KILLED_BEFORE = "the process is killed before it"
    KILLED_AFTER = "the process is killed after it"

    @property
    def kills(self) -> bool:
        """Whether the process ends with it."""
        return self in (Way.KILLED_BEFORE, Way.KILLED_AFTER)


class Injector:
    """Counts calls, and lets one fail.

    Attributes
    ----------
    calls:
        What was called so far.
    on_kill:
        Called when the process has to end; it doesn't return.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.on_kill: Callable[[], None] = lambda: None
        self._number = -1
        self._way = Way.ERROR
        self._lock = threading.RLock()

    def arm(self, number: int, way: Way) -> None:
        """Let the call with this number, counted from now, fail."""
        self.calls, self._number, self._way = [], number, way

    def disarm(self) -> None:
        """Let nothing fail."""
        self.arm(-1, Way.ERROR)

    @property
    def hit(self) -> str:
        """What failed; empty if it did not come so far."""
        return self.calls[self._number] if 0 <= self._number < len(self.calls) else ""

    def call(
        self,
        name: str,
        do: Callable[[], T],
        fail: Callable[[Way], Exception],
        cut: Callable[[T], T] | None = None,
    ) -> T:
        """One call.

        Parameters
        ----------
        fail:
            Makes the error that the caller gets.
        cut:
            Makes the answer that breaks off while it is read; without it the call itself fails.
        """
        with self._lock:
            self.calls.append(name)
            if len(self.calls) - 1 != self._number:
                return do()
            return self._fail(do, fail, cut)

    def _fail(self, do: Callable[[], T], fail: Callable[[Way], Exception], cut: Callable[[T], T] | None) -> T:
        way = self._way
        if way is Way.ERROR:
            raise fail(way)
        if way is Way.KILLED_BEFORE:
            self.on_kill()
        answer = do()
        if way is Way.KILLED_AFTER:
            self.on_kill()
        if way is Way.DOUBLED:
            return do()
        if way is Way.CUT and cut is not None:
            return cut(answer)
        raise fail(way)


class _BreaksOff(io.RawIOBase):
    """The first half of a body, then an error, as `coffre.vault.signed` raises it."""

    def __init__(self, body: BinaryIO, key: str) -> None:
        whole = body.read()
        self._half = io.BytesIO(whole[: len(whole) // 2])
        self._key = key

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._half.read(len(buffer))
        if not block:
            raise StoreUnavailableError(f"object {self._key} broke off while it was read")
        buffer[: len(block)] = block
        return len(block)


class FaultyStore(MemoryStore):
    """A store in memory behind an injector."""

    def __init__(self, injector: Injector) -> None:
        super().__init__()
        self.injector = injector

    def state(self) -> bytes:
        """What it holds."""
        return pickle.dumps((self._keys, next(self._numbers)))

    def restore_state(self, state: bytes) -> None:
        """Hold what `state` gave."""
        self._keys, number = pickle.loads(state)  # noqa: S301 - our own
        self._numbers = itertools.count(number)

    def _call(self, operation: str, key: str, do: Callable[[], T], cut: Callable[[T], T] | None = None) -> T:
        def fail(way: Way) -> Exception:
            what = {Way.ERROR: "the store answered 503 SlowDown", Way.CUT: "IncompleteRead"}
            return StoreUnavailableError(f"could not {operation} {key}: {what.get(way, 'ReadTimeoutError')}")

        return self.injector.call(f"s3 {operation} {key}", do, fail, cut)

    def put_new(self, key: str, body: bytes | BinaryIO, *, size: int, sha256: str) -> None:
        content = body if isinstance(body, bytes) else body.read()
        sup, sent = super(), []

        def put() -> None:
            try:
                sup.put_new(key, content, size=size, sha256=sha256)
            except ObjectExistsError:
                if not sent:  # a second attempt knows its own object: `ObjectStore.put_new` promises that
                    raise
            sent.append(key)

        self._call("put_new", key, put)

    def get(self, key: str, version: str | None = None) -> BinaryIO:
        def broken(body: BinaryIO) -> BinaryIO:
            return io.BufferedReader(_BreaksOff(body, key))

        sup = super()
        return self._call("get", key, lambda: sup.get(key, version), broken)

    def head(self, key: str) -> ObjectInfo | None:
        sup = super()
        return self._call("head", key, lambda: sup.head(key))

    def objects(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        sup = super()
        listed = self._call("list", prefix, lambda: [*sup.objects(prefix, start_after)], _half)
        yield from _told(listed, prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        listed = list(self.objects(prefix))
        yield from dict.fromkeys(
            item.key.removeprefix(prefix).split("/", 1)[0] + "/"
            for item in listed
            if "/" in item.key.removeprefix(prefix)
        )

    def versions(self, prefix: str) -> Iterator[Version]:
        sup = super()
        listed = self._call("list_versions", prefix, lambda: [*sup.versions(prefix)], _half)
        yield from _told(listed, prefix)

    def mark_deleted(self, key: str) -> None:
        sup = super()
        self._call("mark_deleted", key, lambda: sup.mark_deleted(key))

    def delete_version(self, key: str, version: str) -> None:
        sup = super()
        self._call("delete_version", key, lambda: sup.delete_version(key, version))

    def versioning(self) -> str:
        return self._call("versioning", self.bucket, super().versioning)

    def lifecycle_rules(self) -> list[dict[str, Any]]:
        return self._call("lifecycle", self.bucket, super().lifecycle_rules)


class _Half(list[Any]):
    """The first pages of a listing, whose next one fails."""


def _half(listed: list[T]) -> list[T]:
    return _Half(listed[: len(listed) // 2])


def _told(listed: list[T], prefix: str) -> Iterator[T]:
    yield from listed
    if isinstance(listed, _Half):
        raise StoreUnavailableError(f"could not list {prefix}: the store answered 503 SlowDown")


def _aws_failure(way: Way) -> Exception:
    if way is Way.ERROR:
        return ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "Any")
    if way is Way.CUT:
        return ResponseStreamingError(error="IncompleteRead")
    return ReadTimeoutError(endpoint_url="https://aws")


class FaultyClient:
    """A client in memory behind an injector: every method is a call."""

    def __init__(self, service: str, client: MemoryDynamo | MemoryEvents, injector: Injector) -> None:
        self._service = service
        self._client = client
        self._injector = injector

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(**parameters: Any) -> Any:
            what = str(parameters.get("Key", parameters.get("Item", {})).get("sk", {}).get("S", ""))
            return self._injector.call(
                f"{self._service} {name} {what}", lambda: method(**parameters), _aws_failure
            )

        return call


def in_a_process(
    run: Callable[[], object],
    injector: Injector,
    holds: Callable[[], bytes],
    place: Path,
    started: Callable[[int], None] = lambda _: None,
) -> bytes | None:
    """Run in a process of its own, which the injector kills, or a signal (`DIE`) from outside.

    Parameters
    ----------
    holds:
        What the services hold.
    place:
        Where that is written down at the moment of death.
    started:
        Told the process id.

    Returns
    -------
    bytes
        What the services held; None if the run came to its end alive.
    """

    def die(*_: object) -> None:
        place.write_bytes(holds())
        os.killpg(os.getpid(), signal.SIGKILL)

    place.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        injector.on_kill = die
        signal.signal(DIE, die)
        try:
            run()
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    started(child)
    _, status = os.waitpid(child, 0)
    return place.read_bytes() if os.WIFSIGNALED(status) and place.exists() else None
