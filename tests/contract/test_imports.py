"""Imports run one way, and only the outermost modules know of the environment and of AWS clients."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "layers" / "common" / "coffre"

BASE = {
    "errors",
    "settings",
    "events",
    "results",
    "choice",
    "ids",
    "observability",
    "prices",
    "timing",
    "workers",
    "buffers",
    "readable",
    "compiled",
}
SHARED = {"databases", "vault", "catalogue", "notify"}
VERBS = {"backup", "verify", "prove", "rotate", "restore", "health", "report", "loadtest"}
# Functions that do a part of a verb.
PARTS_OF = {"hold": "backup", "capture": "backup", "load": "restore"}
# Processes start here, as they do in a handler.
OUTERMOST = {"wiring", "worker"}
RANK = {
    **dict.fromkeys(BASE, 0),
    **dict.fromkeys(SHARED, 1),
    **dict.fromkeys(VERBS, 2),
    "wiring": 3,
    "worker": 4,
}
HANDLERS = 4


@dataclass(frozen=True)
class Module:
    """One source file; ``piece`` is its first name below ``coffre``, empty for the package itself."""

    path: Path
    piece: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """The path within the repository."""
        return str(self.path.relative_to(ROOT))


def modules(folder: Path) -> list[Module]:
    """Every source file below ``folder``."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        pieces = path.relative_to(folder).with_suffix("").parts
        piece = "" if pieces == ("__init__",) else pieces[0]
        found.append(Module(path, piece, ast.parse(path.read_text(), str(path))))
    return found


def imported(module: Module) -> Iterator[str]:
    """Dotted names that ``module`` imports, wherever in the file it does."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def dotted(path: Path, base: Path) -> str:
    """The name by which a source file is imported."""
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


def pieces(module: Module) -> set[str]:
    """What ``module`` imports of the library: first names below ``coffre``."""
    return {name.split(".")[1] for name in imported(module) if name.startswith("coffre.")} & set(RANK)


def uses(tree: ast.Module, package: str, names: set[str]) -> bool:
    """Whether ``tree`` uses one of ``names`` of ``package``, as an attribute or imported by name."""
    attributes = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == package
    }
    by_name = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == package
        for alias in node.names
    }
    return bool(names & (attributes | by_name))


def reads_environment(tree: ast.Module) -> bool:
    """Whether ``os.environ`` or ``os.getenv`` is used."""
    return uses(tree, "os", {"environ", "environb", "getenv"})


def makes_clients(tree: ast.Module) -> bool:
    """Whether clients of AWS are made."""
    return uses(tree, "boto3", {"client", "resource", "Session", "session", "setup_default_session"})


def only_defines(node: ast.stmt) -> bool:
    """Whether a statement at module level defines something and does nothing."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in {"TYPE_CHECKING", "__name__ == '__main__'"}
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    return isinstance(node, kinds)


LIBRARY_MODULES = modules(LIBRARY)
HANDLER_MODULES = modules(ROOT / "functions")


def named(module: Module) -> str:
    """A test's name for ``module``."""
    return module.name


@pytest.mark.parametrize("module", LIBRARY_MODULES, ids=named)
def test_the_library_imports_one_way(module: Module) -> None:
    assert module.piece in {"", *RANK}, "give this module its place in RANK"
    rank = RANK.get(module.piece, 0)
    upwards = {piece for piece in pieces(module) if RANK[piece] > rank}
    assert upwards == set()


@pytest.mark.parametrize("module", [m for m in LIBRARY_MODULES if m.piece in VERBS], ids=named)
def test_verbs_do_not_import_each_other(module: Module) -> None:
    assert (pieces(module) & VERBS) <= {module.piece}


def test_what_verbs_share_has_no_cycles() -> None:
    needs: dict[str, set[str]] = {piece: set() for piece in SHARED}
    for module in LIBRARY_MODULES:
        if module.piece in SHARED:
            needs[module.piece] |= (pieces(module) & SHARED) - {module.piece}
    while ready := {piece for piece, others in needs.items() if not others}:
        needs = {piece: others - ready for piece, others in needs.items() if piece not in ready}
    assert needs == {}


@pytest.mark.parametrize("package", ["layers/common/coffre", "localcloud", "cli/coffre_cli", "demo", "bench"])
def test_no_module_needs_itself_by_way_of_others(package: str) -> None:
    folder = ROOT / package
    found = {dotted(module.path, folder.parent): module for module in modules(folder)}
    needs = {
        name: {one if one in found else one.rpartition(".")[0] for one in imported(module)}
        & set(found) - {name}
        for name, module in found.items()
    }
    TopologicalSorter(needs).prepare()  # its error names the circle


@pytest.mark.parametrize("module", [m for m in LIBRARY_MODULES if m.piece not in OUTERMOST], ids=named)
def test_only_the_wiring_reads_the_environment_and_makes_clients(module: Module) -> None:
    assert not reads_environment(module.tree)
    assert not makes_clients(module.tree)


@pytest.mark.parametrize("module", [*LIBRARY_MODULES, *HANDLER_MODULES], ids=named)
def test_the_library_knows_nothing_of_the_command_and_of_the_local_cloud(module: Module) -> None:
    roots = {name.split(".")[0] for name in imported(module)}
    assert not roots & {"coffre_cli", "localcloud", "moto", "functions"}


@pytest.mark.parametrize("module", [*LIBRARY_MODULES, *HANDLER_MODULES], ids=named)
def test_importing_a_module_does_nothing_but_define(module: Module) -> None:
    doing = [ast.unparse(node) for node in module.tree.body if not only_defines(node)]
    assert doing == []


@pytest.mark.parametrize("module", HANDLER_MODULES, ids=named)
def test_a_handler_uses_its_own_verb_alone(module: Module) -> None:
    assert (pieces(module) & VERBS) <= {PARTS_OF.get(module.piece, module.piece)}
    assert not makes_clients(module.tree)


def test_the_local_cloud_does_not_need_the_command() -> None:
    for module in modules(ROOT / "localcloud"):
        assert "coffre_cli" not in {name.split(".")[0] for name in imported(module)}, module.name
