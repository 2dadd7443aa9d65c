"""Bodies of S3 objects on disk.

moto gives each object a ``SpooledTemporaryFile``: in memory below 5 MB, and above an open file for as long as
the object lives. Thousands of chunks would fill the memory or use up the file descriptors, so this keeps each
body of more than 16 KiB in a file of its own and opens it to read, once 256 MiB of them are in memory.
"""

import itertools
import os
from pathlib import Path

IN_MEMORY = 16 * 1024
"""Bodies up to this many bytes always stay in memory."""

BUDGET = 256 * 1024 * 1024
"""Bytes of larger bodies that may stay in memory too: writing a file costs more than the rest of a PUT."""


class Bodies:
    """A folder of bodies; what moto calls instead of ``tempfile``.

    Args:
        folder: emptied at the start; it belongs to this object.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        self._folder = folder
        self._numbers = itertools.count()
        # Changed under the lock of S3 only.
        self._reserved = 0

    def SpooledTemporaryFile(self, max_size: int = 0) -> "Body":  # noqa: N802, ARG002
        """A new, empty body; the name and the argument are those that moto uses."""
        return Body(self._folder / str(next(self._numbers)), self)

    def reserve(self, size: int) -> bool:
        """Whether a body of that size may stay in memory; if so, ``release`` gives it back."""
        if size > IN_MEMORY and self._reserved + size > BUDGET:
            return False
        self._reserved += size
        return True

    def release(self, size: int) -> None:
        """Take back what was reserved."""
        self._reserved -= size


class Body:
    """The part of a file's interface that moto uses for an object's body.

    It is written at once and then read; writing at another place than the end replaces what follows.
    """

    def __init__(self, path: Path, owner: Bodies) -> None:
        self._path = path
        self._owner = owner
        self._memory: bytes | None = b""
        self._position = 0

    def seek(self, position: int) -> int:
        """Go to a byte position."""
        self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Read from the position on, all or up to a number of bytes."""
        if self._memory is not None:
            end = None if size < 0 else self._position + size
            data = self._memory[self._position : end]
        else:
            with self._path.open("rb", buffering=0) as file:
                file.seek(self._position)
                data = file.read() if size < 0 else file.read(size)
        self._position += len(data)
        return data

    def write(self, data: bytes) -> int:
        """Write at the position; what stood behind it is gone."""
        size = self._position + len(data)
        if self._memory is not None and self._keep(size):
            self._memory = self._memory[: self._position] + data
        else:
            self._write_file(data)
        self._position += len(data)
        return len(data)

    def truncate(self) -> int:
        """Cut at the position."""
        if self._memory is not None:
            self._keep(self._position)
            self._memory = self._memory[: self._position]
        else:
            os.truncate(self._path, self._position)
        return self._position

    def close(self) -> None:
        """Forget the body."""
        if self._memory is None:
            self._path.unlink(missing_ok=True)
        else:
            self._owner.release(len(self._memory))
        self._memory = b""

    def _keep(self, size: int) -> bool:
        """Whether this body may be in memory with a new size; what it had is given back in any case."""
        held = len(self._memory or b"")
        self._owner.release(held)
        return self._owner.reserve(size)

    def _write_file(self, data: bytes) -> None:
        before, self._memory = self._memory, None
        with self._path.open("r+b" if before is None else "xb") as file:
            if before is None:
                file.seek(self._position)
            else:
                file.write(before[: self._position])
            file.write(data)
            file.truncate()
