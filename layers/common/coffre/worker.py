"""A worker process: ``python -m coffre.worker``.  It speaks with its parent as `coffre.workers` says."""

from __future__ import annotations

import sys

from coffre.wiring import make_task
from coffre.workers import serve

if __name__ == "__main__":
    sys.exit(serve(make_task, sys.stdin, sys.stdout))
