"""The compiled inner loops touch no memory but what they were given, whatever it holds."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from coffre.backup import speed
from coffre.compiled import compiled

HERE = Path(__file__).parent
NATIVE = Path(__file__).parents[3] / "layers" / "common" / "native"
ROUNDS = 60_000

Fuzz = Callable[..., int]


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("native_build", NATIVE / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def fuzz(build: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Fuzz:
    """Run the fuzzer; its status."""
    program = tmp_path_factory.mktemp("fuzz") / "fuzz"
    try:
        build.compile_program(HERE / "fuzz.c", program)
    except build.BuildError as error:
        pytest.skip(str(error))

    def run(*words: object) -> int:
        return subprocess.run([program, *map(str, words)], check=False).returncode

    return run


@pytest.mark.parametrize("seed", [1, 20261120])
def test_rubbish_is_taken_or_left_but_never_read_or_written_past_its_end(fuzz: Fuzz, seed: int) -> None:
    assert fuzz(seed, ROUNDS) == 0


@pytest.mark.parametrize(
    ("planted", "signals"),
    [
        ("past", {signal.SIGSEGV, signal.SIGBUS}),
        ("overflow", {signal.SIGILL, signal.SIGTRAP, signal.SIGABRT}),
    ],
)
def test_the_fuzzer_finds_a_fault_that_was_planted(fuzz: Fuzz, planted: str, signals: set[int]) -> None:
    assert -fuzz(1, 10, planted) in signals


def test_a_library_that_can_not_be_loaded_is_done_without_and_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "coffre_native"
    package.mkdir()
    (package / "__init__.py").write_bytes((NATIVE / "coffre_native" / "__init__.py").read_bytes())
    (package / "libcoffre_native.so").write_bytes(b"\x7fELF of another machine")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "coffre_native", raising=False)
    assert compiled.__wrapped__() is None
    monkeypatch.setattr(speed, "compiled", compiled.__wrapped__)
    assert [found.code for found in speed.speed_findings()] == ["not-compiled"]


def test_a_library_that_is_there_is_no_finding() -> None:
    if compiled() is None:
        pytest.skip("coffre_native isn't installed: `make install` says why")
    assert speed.speed_findings() == []
