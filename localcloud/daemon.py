"""The local cloud as a process of its own: ``python -m localcloud --state DIR [--port N]``."""

import argparse
import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import localcloud
from localcloud.errors import LocalCloudError

INFO_FILE = "local.json"
"""Written into the state folder once everything is up, removed at the end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT.

    Returns:
        0 after a clean stop, 1 if the template could not be brought up, 2 for bad usage.
    """
    parser = argparse.ArgumentParser(
        prog="python -m localcloud", description="Run a SAM template on this machine."
    )
    parser.add_argument(
        "--template", type=Path, default=Path("template.yaml"), help="default: ./template.yaml"
    )
    parser.add_argument(
        "--state", type=Path, default=Path(".coffre"), help="folder for state; default: ./.coffre"
    )
    parser.add_argument("--port", type=int, default=0, help="of the AWS endpoints; default: a free one")
    parser.add_argument("--stack", default="local", help="name of the stack; default: local")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("localcloud").setLevel(logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    gc.disable()  # nothing of what comes up is garbage, and looking for some takes a quarter of the time
    try:
        cloud = localcloud.up(options.template, port=options.port, state=options.state, stack=options.stack)
    except LocalCloudError as error:
        print(f"localcloud: {error}", file=sys.stderr)
        return 1
    _leave_alone_what_stays()
    info = options.state / INFO_FILE
    with cloud:
        _write(info, json.dumps(cloud.info(), indent=2))
        logging.getLogger(__name__).info("up at %s", cloud.endpoint)
        try:
            stop.wait()
        finally:
            info.unlink(missing_ok=True)
    return 0


def _leave_alone_what_stays() -> None:
    """Keep the garbage collector from walking through moto again and again: all of it stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def _write(path: Path, text: str) -> None:
    """Write a file so that nobody sees half of it."""
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)
