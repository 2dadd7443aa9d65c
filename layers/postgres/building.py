"""What the layers of PostgreSQL's programs share: places that are filled at once, and templates.

``layers/proof`` uses it, too.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard

UNPRIVILEGED = 65534
"""The user and group ("nobody") as which initdb runs for root, whom it refuses."""

SETTINGS = """
# An ephemeral server: reached over a unix socket alone, thrown away after use, so nothing is made durable.
listen_addresses = ''
dynamic_shared_memory_type = mmap       # Lambda has no /dev/shm
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal                     # rows copied into a table of the same transaction write no WAL
max_wal_senders = 0
max_wal_size = 128MB                    # the data directory shares /tmp with what is restored
min_wal_size = 32MB
shared_buffers = 128MB
maintenance_work_mem = 128MB
timezone = 'UTC'
log_timezone = 'UTC'
"""


class AssembleError(Exception):
    """The layer can't be built; the message says why."""


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Let one process at a time build ``place``; the folder that it lies in is made if need be."""
    place.parent.mkdir(parents=True, exist_ok=True)
    name = place.with_name(f".{place.name}.lock")
    while True:
        handle = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if _is(name, handle):
            break
        os.close(handle)  # whoever had it has removed it, so that no layer ships it
    try:
        yield
    finally:
        name.unlink()
        os.close(handle)


def _is(name: Path, handle: int) -> bool:
    """Whether ``name`` is still the file that was opened."""
    try:
        return os.path.samestat(name.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def package(name: str, wheels: Path | None) -> tuple[Path, Path]:
    """The folder of package ``name`` and the folder of the libraries that its wheel brought along.

    Raises
    ------
    AssembleError
        It isn't there.
    """
    if wheels is None:
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or []) if spec else []
        package = Path(places[0]) if places else Path(name)
    else:
        package = wheels / name
    libraries = package.with_name(f"{name}.libs")
    if not (package.is_dir() and libraries.is_dir()):
        raise AssembleError(f"the wheel of {name} is not there: install it, or give --wheels")
    return package, libraries


def loaded(binaries: list[Path], libraries: Path) -> set[Path]:
    """Those of ``libraries`` that the binaries name, and those that these name in turn."""
    available = {path.name.encode(): path for path in libraries.iterdir() if path.is_file()}
    found: set[Path] = set()
    pending = list(binaries)
    while pending:
        content = pending.pop().read_bytes()
        new = {path for name, path in available.items() if name + b"\0" in content} - found
        found |= new
        pending.extend(new)
    return found


def make_template(initdb: Path, archive: Path) -> None:
    """Run initdb and pack the data directory.

    Parameters
    ----------
    initdb:
        It looks for ``postgres`` and ``share`` beside itself.
    archive:
        The template to write, compressed by zstd.

    Raises
    ------
    AssembleError
        initdb failed.
    """
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="coffre-initdb-") as home:
        data = Path(home) / "data"
        if user is not None:
            os.chown(home, user, user)
        command = [initdb, "-D", data, "-U", "coffre_boot", "-E", "UTF8", "--locale=C", "--no-sync"]
        command += ["--wal-segsize=1"]  # of 16 MiB most would be zeros that every start writes
        command += ["--auth-local=trust", "--auth-host=reject", "--no-instructions"]
        done = subprocess.run(
            [str(word) for word in command],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            env={"PATH": os.defpath, "LANG": "C", "TZ": "UTC"},
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        if done.returncode:
            raise AssembleError(f"initdb ended with {done.returncode}: {done.stderr.strip()}")
        with (data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS)
        _pack(data, archive)


def _pack(data: Path, archive: Path) -> None:
    """Write the data directory's content as `coffre.databases.postgresql.template` reads it.

    What several files have in common is there once: initdb makes three databases of the same content.
    """
    folders: list[str] = []
    names: dict[bytes, list[str]] = {}
    for path in sorted(data.rglob("*")):
        name = str(path.relative_to(data))
        if path.is_dir():
            folders.append(name)
        else:
            names.setdefault(path.read_bytes(), []).append(name)
    files = [[len(content), named] for content, named in names.items()]
    with archive.open("wb") as raw, zstandard.ZstdCompressor(level=12).stream_writer(raw) as stream:
        stream.write(json.dumps({"folders": folders, "files": files}).encode() + b"\n")
        for content in names:
            stream.write(content)


def open_up(folder: Path) -> None:
    """Let everybody read and run what is below ``folder``, whatever umask it was written under."""
    for path in folder.rglob("*"):
        runs = path.is_dir() or path.parent.name == "bin" or ".so" in path.name
        path.chmod(0o755 if runs else 0o644)


def put_in_place(built: Path, target: Path) -> None:
    """Copy the result beside its place, then rename it into it.  It must be `locked`."""
    for leftover in target.parent.glob(f".{target.name}-*"):
        shutil.rmtree(leftover)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    shutil.copytree(built, beside / "new")
    if target.exists():
        target.rename(beside / "old")
    (beside / "new").rename(target)
    shutil.rmtree(beside)


def size(folder: Path) -> int:
    """The bytes of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
