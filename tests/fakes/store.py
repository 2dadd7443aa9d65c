"""An object store in memory that behaves like a versioned bucket, and one that fails on demand."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Self

from coffre.errors import DeleteRefusedError, ObjectExistsError, ObjectMissingError, StoreUnavailableError
from coffre.vault.locks import Lock, LockRule
from coffre.vault.objects import ObjectInfo, Version
from coffre.vault.store import ObjectStore

START = datetime(2026, 11, 20, 3, tzinfo=UTC)


@dataclass(frozen=True)
class _Stored:
    version: Version
    body: bytes = b""
    locked_until: datetime | None = None
    legal_hold: bool = False

    def __deepcopy__(self, _: object) -> Self:
        """Itself: nothing in it changes, and explorations copy stores by the thousand."""
        return self


@dataclass
class _Key:
    """Versions and markers of one key, oldest first."""

    entries: list[_Stored] = field(default_factory=list)

    @property
    def visible(self) -> _Stored | None:
        """What a plain read meets."""
        return self.entries[-1] if self.entries and not self.entries[-1].version.marker else None


class MemoryStore(ObjectStore):
    """The twin of a versioned bucket.

    ``now`` is the store's clock; tests move it.  With a ``rule`` it is a bucket with Object Lock.  While
    ``kept`` is ``Suspended`` what is written, markers too, replaces the key's version ``null``.
    """

    def __init__(self, bucket: str = "vault", now: datetime = START) -> None:
        self.bucket = bucket
        self.now = now
        self.rule: LockRule | None = None
        self.kept = "Enabled"
        self._keys: dict[str, _Key] = {}
        self._numbers = itertools.count(1)

    # What tests do to it

    def advance(self, **duration: float) -> None:
        """Let time pass: keywords of `datetime.timedelta`."""
        self.now += timedelta(**duration)

    def put(self, key: str, body: bytes) -> None:
        """Write without any condition."""
        self._add(key, body, marker=False)

    def tamper(self, key: str, change: Callable[[bytes], bytes]) -> None:
        """Change the visible version's bytes behind the store's back."""
        entries = self._keys[key].entries
        entries[-1] = replace(entries[-1], body=change(entries[-1].body))

    def lose(self, key: str) -> None:
        """Make a key vanish with all its versions."""
        del self._keys[key]

    def keys(self, prefix: str = "") -> list[str]:
        """The visible keys below a prefix."""
        return [item.key for item in self.objects(prefix)]

    # What an ObjectStore does

    def put_new(self, key: str, body: bytes | BinaryIO, *, size: int, sha256: str) -> None:
        content = body if isinstance(body, bytes) else body.read()
        if len(content) != size or hashlib.sha256(content).hexdigest() != sha256:
            raise StoreUnavailableError(f"could not write {key}: the store answered BadDigest")
        if key in self._keys and self._keys[key].visible:
            raise ObjectExistsError(f"object {key} exists already")
        self._add(key, content, marker=False)

    def get(self, key: str, version: str | None = None) -> BinaryIO:
        return io.BytesIO(self._find(key, version).body)

    def head(self, key: str, version: str | None = None) -> ObjectInfo | None:
        try:
            stored = self._find(key, version)
        except ObjectMissingError:
            return None
        digest, seen = hashlib.sha256(stored.body).hexdigest(), stored.version
        return ObjectInfo(
            key, seen.size, seen.modified, digest, seen.version, stored.locked_until, stored.legal_hold
        )

    def objects(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        for key in self._below(prefix):
            stored = self._keys[key].visible
            if key > start_after and stored:
                yield ObjectInfo(key, stored.version.size, stored.version.modified)

    def folders(self, prefix: str) -> Iterator[str]:
        below = (item.key.removeprefix(prefix) for item in self.objects(prefix))
        for name, _ in itertools.groupby(key.split("/", 1)[0] + "/" for key in below if "/" in key):
            yield name

    def versions(self, prefix: str) -> Iterator[Version]:
        for key in self._below(prefix):
            entries = [stored.version for stored in self._keys[key].entries]
            newest_first = [replace(entry, latest=entry is entries[-1]) for entry in reversed(entries)]
            yield from sorted(newest_first, key=lambda entry: entry.marker)

    def mark_deleted(self, key: str) -> None:
        self._add(key, b"", marker=True)

    def delete_version(self, key: str, version: str) -> None:
        found = self._keys.get(key, _Key())
        for stored in found.entries:
            ends = stored.locked_until
            if stored.version.version == version and (stored.legal_hold or (ends and ends > self.now)):
                raise DeleteRefusedError(f"the store refused to delete version {version} of {key}")
        found.entries = [stored for stored in found.entries if stored.version.version != version]
        if not found.entries:
            self._keys.pop(key, None)

    def mark_all_deleted(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.mark_deleted(key)

    def delete_versions(self, versions: Sequence[Version]) -> set[str]:
        refused = set()
        for one in versions:
            try:
                self.delete_version(one.key, one.version)
            except DeleteRefusedError:
                refused.add(one.key)
        return refused

    def presigned(self, key: str, *, seconds: int, version: str | None = None) -> str:
        return f"memory://{self.bucket}/{key}?seconds={seconds}&version={version or ''}"

    def retain(self, key: str, version: str, lock: Lock) -> None:
        self._relock(key, version, locked_until=lock.until.replace(microsecond=0))

    def legal_hold(self, key: str, version: str, *, on: bool) -> None:
        self._relock(key, version, legal_hold=on)

    def lock_rule(self) -> LockRule | None:
        return self.rule

    def _below(self, prefix: str) -> list[str]:
        """All keys below a prefix, hidden ones too, in their order."""
        return sorted(key for key in list(self._keys) if key.startswith(prefix))  # others may write

    def _relock(self, key: str, version: str, **changes: Any) -> None:
        if self.rule is None:
            raise StoreUnavailableError(f"could not lock {key}: the store answered InvalidRequest")
        stored = self._find(key, version)
        ends, new = stored.locked_until, changes.get("locked_until")
        if ends and new and new < ends:
            raise StoreUnavailableError(f"could not lock {key}: the store answered AccessDenied")
        entries = self._keys[key].entries
        entries[entries.index(stored)] = replace(stored, **changes)

    def versioning(self) -> str:
        return self.kept

    def lifecycle_rules(self) -> list[dict[str, Any]]:
        return []

    def _add(self, key: str, body: bytes, *, marker: bool) -> None:
        name = f"v{next(self._numbers)}" if self.kept == "Enabled" else "null"
        version = Version(key, name, True, marker, len(body), self.now)
        locked = None
        if self.rule is not None and not marker:
            ends = self.lock.until if self.lock else self.now + self.rule.default
            locked = ends.replace(microsecond=0)
        found = self._keys.setdefault(key, _Key())
        found.entries = [stored for stored in found.entries if stored.version.version != name]
        found.entries.append(_Stored(version, body, locked))

    def _find(self, key: str, version: str | None) -> _Stored:
        found = self._keys.get(key, _Key())
        stored = found.visible
        if version is not None:
            matching = (s for s in found.entries if s.version.version == version and not s.version.marker)
            stored = next(matching, None)
        if stored is None:
            raise ObjectMissingError(f"object {key} doesn't exist")
        return stored


class FailingStore(MemoryStore):
    """Fails on demand: see `fail`."""

    def __init__(self) -> None:
        super().__init__()
        self._faults: list[tuple[str, str, Exception, int]] = []
        self.calls: list[tuple[str, str]] = []

    def fail(self, operation: str, error: Exception, *, containing: str = "", after: int = 0) -> None:
        """Let every ``operation`` on a key with ``containing`` in it raise, after so many that succeed."""
        self._faults.append((operation, containing, error, after))

    def heal(self) -> None:
        """Fail no more."""
        self._faults.clear()

    def put_new(self, key: str, body: bytes | BinaryIO, *, size: int, sha256: str) -> None:
        self._meet("put_new", key)
        super().put_new(key, body, size=size, sha256=sha256)

    def get(self, key: str, version: str | None = None) -> BinaryIO:
        self._meet("get", key)
        return super().get(key, version)

    def head(self, key: str, version: str | None = None) -> ObjectInfo | None:
        self._meet("head", key)
        return super().head(key, version)

    def objects(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        self._meet("objects", prefix)
        return super().objects(prefix, start_after)

    def retain(self, key: str, version: str, lock: Lock) -> None:
        self._meet("retain", key)
        super().retain(key, version, lock)

    def versions(self, prefix: str) -> Iterator[Version]:
        self._meet("versions", prefix)
        return super().versions(prefix)

    def mark_deleted(self, key: str) -> None:
        self._meet("mark_deleted", key)
        super().mark_deleted(key)

    def delete_version(self, key: str, version: str) -> None:
        self._meet("delete_version", key)
        super().delete_version(key, version)

    def _meet(self, operation: str, key: str) -> None:
        self.calls.append((operation, key))
        for number, (name, containing, error, after) in enumerate(self._faults):
            if name == operation and containing in key:
                self._faults[number] = (name, containing, error, after - 1)
                if after <= 0:
                    raise error
