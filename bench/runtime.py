"""A virtual environment with the layer's packages and nothing else, as a function has them.

The development environment holds packages that botocore and urllib3 import wherever they find them (awscrt,
pyOpenSSL): a worker's start would cost twice what it costs in Lambda.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYER = ROOT / "layers" / "common"
REQUIREMENTS = LAYER / "requirements.txt"


def prepare(folder: Path) -> Path:
    """Make the environment in ``folder``, once for each state of the requirements; its interpreter."""
    interpreter, stamp = folder / "bin" / "python", folder / "made-from"
    wanted = f"{sys.version} {hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()}"
    if not (stamp.exists() and stamp.read_text() == wanted):
        venv.create(folder, clear=True, with_pip=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([str(interpreter), *install, "--requirement", str(REQUIREMENTS)], check=True)
        stamp.write_text(wanted)
    build = [sys.executable, str(LAYER / "native" / "build.py"), "--into", str(_packages(interpreter))]
    subprocess.run(build, check=True)
    return interpreter


def _packages(interpreter: Path) -> Path:
    """Where packages are installed for an interpreter."""
    ask = "import sysconfig; print(sysconfig.get_path('platlib'))"
    done = subprocess.run([str(interpreter), "-c", ask], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def environment() -> dict[str, str]:
    """The variables under which the library is found there, and compiled once, not at every start."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PG", "PYTHON"))
    }
    return {**kept, "PYTHONPATH": str(LAYER)}
