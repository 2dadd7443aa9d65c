"""Build the package ``coffre_native``, a library and a program of C, for any platform on any platform.

The compiler is Zig's, a wheel from PyPI that is pinned with hashes: no compiler of the system's, no headers
of Python's.  What was built is kept below ``.coffre`` and used again until its sources change.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import platform
import re
import stat
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEPT = HERE.parents[2] / ".coffre"
NATIVE = KEPT / "native"
SOURCES = ("coffre_native.c", "tie.c", "xxhash.h", "requirements.txt", "build.py")
LIBRARY = "libcoffre_native.so"
PROGRAM = "tie"
VERSION = "1.1.0"
_WARNINGS = ("-Wall", "-Wextra", "-Werror")


@dataclass(frozen=True)
class Platform:
    """One that a library can be built for.

    Attributes
    ----------
    target:
        The compiler's name of it.
    link:
        How to link.  On Linux nothing is linked with: four functions come from whatever libc is loaded, so
        that one library serves all of them.
    tag:
        The wheel's.
    ties:
        Whether there is the program `PROGRAM`: other systems than Linux don't tie processes.
    """

    target: str
    link: tuple[str, ...]
    tag: str
    ties: bool = True


PLATFORMS = {
    "x86_64-linux": Platform(
        "x86_64-linux-gnu.2.17",
        ("-nostdlib",),
        "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
    ),
    "aarch64-linux": Platform(
        "aarch64-linux-gnu.2.17",
        ("-nostdlib",),
        "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
    ),
    "x86_64-macos": Platform("x86_64-macos.11.0", (), "macosx_11_0_x86_64", ties=False),
    "aarch64-macos": Platform("aarch64-macos.11.0", (), "macosx_11_0_arm64", ties=False),
}


class BuildError(Exception):
    """It can't be built; the message says why."""


def this_platform() -> str:
    """The name of the platform that this runs on."""
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    return f"{machine}-{'macos' if sys.platform == 'darwin' else sys.platform}"


def compiled(name: str) -> dict[str, bytes]:
    """What is compiled for a platform, by name: built unless it is there.

    Raises
    ------
    BuildError
        The platform is unknown, the compiler can't be fetched, or fails.
    """
    wanted = _platform(name)
    makers = {LIBRARY: _compile_library, **({PROGRAM: _compile_tie} if wanted.ties else {})}
    state = hashlib.sha256(b"\0".join((HERE / source).read_bytes() for source in SOURCES)).hexdigest()
    folder = NATIVE / f"{name}-{state[:16]}"
    for made, make in makers.items():
        if not (folder / made).exists():
            with tempfile.TemporaryDirectory(prefix="coffre-native-") as work:
                _put(folder / made, make(wanted, Path(work)).read_bytes())
    return {made: (folder / made).read_bytes() for made in makers}


def _platform(name: str) -> Platform:
    if name not in PLATFORMS:
        raise BuildError(f"there is no build for {name}, only for {', '.join(PLATFORMS)}")
    return PLATFORMS[name]


def _compile_library(wanted: Platform, work: Path) -> Path:
    unit, made = work / "coffre_native.o", work / LIBRARY
    compile_only = ["-O3", "-std=c11", "-fPIC", "-fvisibility=hidden", *_WARNINGS, "-c"]
    _zig_cc(wanted.target, [*compile_only, "-o", unit, HERE / "coffre_native.c"])
    _zig_cc(wanted.target, ["-shared", "-s", *wanted.link, "-o", made, unit])
    return made


def _compile_tie(wanted: Platform, work: Path) -> Path:
    made = work / PROGRAM
    alone = ["-ffreestanding", "-fno-stack-protector", "-nostdlib", "-static", "-s"]
    _zig_cc(wanted.target, ["-Os", "-std=gnu11", *_WARNINGS, *alone, "-o", made, HERE / "tie.c"])
    return made


def compile_program(source: Path, program: Path) -> None:
    """Compile a program that includes the library's source, for this platform, under a sanitizer that traps.

    Raises
    ------
    BuildError
        See `library`.
    """
    checks = [*_WARNINGS, "-fsanitize=undefined", "-fsanitize-trap=undefined"]
    target = _platform(this_platform()).target
    _zig_cc(target, ["-O1", "-std=gnu11", *checks, "-I", HERE, "-o", program, source])


def _zig_cc(target: str, arguments: list[str | Path]) -> None:
    _run([_compiler(), "cc", "-target", target, *arguments])


def _compiler() -> Path:
    """Fetch the compiler and unpack it; both are kept."""
    downloads = KEPT / "downloads"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    fetch = ["download", "--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", downloads]
    _run([*pip, *fetch, "--requirement", HERE / "requirements.txt"])
    pinned = re.search(r"^ziglang==(\S+)", (HERE / "requirements.txt").read_text(), re.MULTILINE)
    wheel = next(downloads.glob(f"ziglang-{pinned[1]}-*.whl"), None) if pinned else None
    if wheel is None:
        raise BuildError("requirements.txt pins no ziglang")
    unpacked = NATIVE / wheel.stem
    if not unpacked.exists():
        NATIVE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="unpack-", dir=NATIVE) as work:
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(Path(work, "whole"))
            Path(work, "whole", "ziglang", "zig").chmod(0o755)
            with suppress(OSError):  # another build was faster
                Path(work, "whole").rename(unpacked)
    return unpacked / "ziglang" / "zig"


def _run(command: list[str | Path]) -> None:
    cache = str(NATIVE / "cache")
    caches = {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env={**os.environ, **caches}
        )
    except OSError as error:
        raise BuildError(f"{command[0]} doesn't run here: {error}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise BuildError(f"{Path(command[0]).name} ended with {done.returncode}: {said[-1]}")


def package(name: str) -> dict[str, bytes]:
    """The package's files for a platform."""
    return {
        "coffre_native/__init__.py": (HERE / "coffre_native" / "__init__.py").read_bytes(),
        **{f"coffre_native/{made}": content for made, content in compiled(name).items()},
        "coffre_native/xxhash.LICENSE": (HERE / "xxhash.LICENSE").read_bytes(),
    }


def wheel(name: str, folder: Path) -> Path:
    """Write the wheel for a platform into ``folder``."""
    files, tag = package(name), PLATFORMS[name].tag
    about = f"coffre_native-{VERSION}.dist-info"
    tags = "".join(f"Tag: py3-none-{one}\n" for one in tag.split("."))
    files[f"{about}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: coffre-native\nVersion: {VERSION}\n"
        "Summary: The compiled inner loops of Coffre\nLicense: Apache-2.0 AND BSD-2-Clause\n"
    ).encode()
    files[f"{about}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: coffre\nRoot-Is-Purelib: false\n{tags}"
    ).encode()
    files[f"{about}/RECORD"] = _record(files, f"{about}/RECORD")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"coffre_native-{VERSION}-py3-none-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for place, content in files.items():
            member = zipfile.ZipInfo(place)
            member.external_attr = (stat.S_IFREG | _mode(place)) << 16
            packed.writestr(member, content)
    return path


def _record(files: dict[str, bytes], own: str) -> bytes:
    lines = []
    for place, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{place},sha256={digest},{len(content)}\n")
    return "".join([*lines, f"{own},,\n"]).encode()


def _put(path: Path, content: bytes) -> None:
    """Replace a file; who has mapped the old one, as the processes that use a library have, keeps that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.chmod(_mode(path.name))
    beside.replace(path)


def _mode(place: str) -> int:
    """A file's: only the program is one that can be executed."""
    return 0o755 if Path(place).name == PROGRAM else 0o644


def main() -> None:
    """Parse the command line and build; print what was made."""
    parser = argparse.ArgumentParser(description="Build coffre_native.")
    parser.add_argument("--platform", choices=PLATFORMS, default=this_platform(), help="default: this one")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--wheel", metavar="DIR", type=Path, help="write a wheel into DIR")
    where.add_argument("--into", metavar="DIR", type=Path, help="put the package into DIR")
    asked = parser.parse_args()
    try:
        if asked.wheel is not None:
            print(wheel(asked.platform, asked.wheel))
            return
        for place, content in package(asked.platform).items():
            _put(asked.into / place, content)
    except BuildError as error:
        parser.exit(1, f"coffre_native can't be built: {error}\n")


if __name__ == "__main__":
    main()
