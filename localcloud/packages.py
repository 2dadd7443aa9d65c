"""Third-party packages as a function finds them: what its layers hold and what its runtime has, nothing more.

They come from the environment that runs the local cloud, which holds much else: what a layer lacks must be
missing here, too, and what isn't there costs no time at a function's start.
"""

import hashlib
import re
import shutil
import sys
import tempfile
import venv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from localcloud.errors import LayerError

RUNTIME = ("awslambdaric", "boto3")
"""What AWS's managed runtimes bring.
Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html#python-sdk-included"""

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


def interpreter(kept: Path) -> Path:
    """This Python without any packages: the program of an empty virtual environment, made below ``kept``."""
    place = kept / f"python-{hashlib.sha256((sys.base_prefix + sys.version).encode()).hexdigest()[:12]}"
    if not place.is_dir():
        with _made_at_once(place) as making:
            venv.create(making, symlinks=True)
    return place / "bin" / "python"


def of_runtime(kept: Path) -> Path:
    """A folder with the runtime's packages; see `gather`."""
    return gather(_closure(RUNTIME), kept)


def of_layer(folder: Path, kept: Path) -> Path:
    """A folder with the packages that ``requirements.txt`` of a layer's folder pins; see `gather`.

    Packages that a ``build.py`` in a folder of the layer makes are there if this environment has them.
    """
    pins = folder / "requirements.txt"
    names = set(_PINNED.findall(pins.read_text())) if pins.is_file() else set()
    return gather(names.union(filter(_is_installed, _built(folder))), kept)


def gather(names: Iterable[str], kept: Path) -> Path:
    """A folder of links to the distributions of these names.

    Args:
        names: of distributions.
        kept: below it the folder is made, under a name that depends on its content.

    Returns:
        The folder; it is the same for the same content.

    Raises:
        LayerError: one of them isn't installed.
    """
    entries = dict(sorted(entry for name in names for entry in _entries(name)))
    place = kept / hashlib.sha256(repr(entries).encode()).hexdigest()[:12]
    if not place.is_dir():
        with _made_at_once(place) as making:
            for name, path in entries.items():
                (making / name).symlink_to(path)
    return place


@contextmanager
def _made_at_once(place: Path) -> Iterator[Path]:
    """A folder to fill, which then becomes ``place``; another cloud may be faster."""
    place.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=place.parent))
    making.chmod(0o755)
    yield making
    try:
        making.rename(place)
    except OSError:
        shutil.rmtree(making)


def _built(layer: Path) -> Iterator[str]:
    for build in layer.glob("*/build.py"):
        yield from (package.parent.name for package in build.parent.glob("*/__init__.py"))


def _is_installed(name: str) -> bool:
    return any(metadata.distributions(name=name))


def _entries(name: str) -> Iterator[tuple[str, str]]:
    """The modules, packages and metadata of a distribution: name and path of each."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise LayerError(f"{name} isn't installed here: `make install` does it") from error
    top = {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}
    return ((entry, str(found.locate_file(entry))) for entry in top if not entry.endswith(".pth"))


def _closure(names: Iterable[str]) -> set[str]:
    """The names, and those of all that they require here."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        needs = (Requirement(line) for line in metadata.requires(name) or ())
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found
