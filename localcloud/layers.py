"""Layers from their source folders, as they would be under ``/opt``.

* A folder with an ``assemble.py`` makes its own content: ``python assemble.py <kept> [<variant>...]`` writes
  below ``<kept>/<name of the folder>`` and does nothing when it is there already. All clouds of a template
  share it: the folder is ``.coffre/opt`` beside the template. The layers' metadata name their variants.
* A layer with another ``BuildMethod`` is Python code: its folder goes on Python's path, and so does one with
  the third-party packages that its ``requirements.txt`` pins (`localcloud.packages`).
* A layer without one is the content of ``/opt``: its entries are linked, ``python`` goes on the path.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from localcloud.errors import LayerError
from localcloud.packages import of_layer
from localcloud.template import Layer


def mount(layers: Iterable[Layer], opt: Path, kept: Path) -> dict[str, tuple[Path, ...]]:
    """Mount layers.

    Args:
        layers: those of the template.
        opt: the folder that stands for ``/opt``.
        kept: the folder of what layers have made.

    Returns:
        What each layer, by logical id, adds to Python's path.

    Raises:
        LayerError: a layer can't be assembled, or two have an entry of the same name.
    """
    opt.mkdir(parents=True, exist_ok=True)
    for entry in opt.iterdir():
        if entry.is_symlink():
            entry.unlink()
        elif (entry / ".complete").exists():  # made here by an earlier version
            shutil.rmtree(entry)
    makers: dict[Path, list[Layer]] = {}
    paths: dict[str, tuple[Path, ...]] = {}
    for layer in layers:
        if (layer.folder / "assemble.py").is_file():
            makers.setdefault(layer.folder, []).append(layer)
            paths[layer.logical] = ()
        else:
            paths[layer.logical] = _mount(layer, opt, kept)
    for folder, same in makers.items():
        _link(_assemble(folder, same, kept), opt, same[0])
    return paths


def _mount(layer: Layer, opt: Path, kept: Path) -> tuple[Path, ...]:
    if layer.build_method:
        return (layer.folder, of_layer(layer.folder, kept.parent / "packages"))
    for entry in layer.folder.iterdir():
        if entry.name == "python":
            continue
        _link(entry, opt, layer)
    python = layer.folder / "python"
    return (python,) if python.is_dir() else ()


def _link(entry: Path, opt: Path, layer: Layer) -> None:
    try:
        (opt / entry.name).symlink_to(entry)
    except FileExistsError as error:
        raise LayerError(f"{layer.logical}: another layer has an entry {entry.name!r} too") from error


def _assemble(folder: Path, layers: Sequence[Layer], kept: Path) -> Path:
    """Make the layers of one folder; they share what comes of it."""
    variants = [layer.variant for layer in layers if layer.variant]
    command = [sys.executable, str(folder / "assemble.py"), str(kept), *variants]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        names = ", ".join(layer.logical for layer in layers)
        raise LayerError(f"{names}: assemble.py failed: {lines[-1] if lines else done.returncode}")
    return kept / folder.name
