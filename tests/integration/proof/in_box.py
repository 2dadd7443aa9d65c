"""What runs in the box: a vault behind presigned URLs, and the real handler of `prove`."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import pwd
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from coffre.databases.postgresql.seal import unreadable
from coffre.vault.reader import load_manifest
from coffre.vault.ticket import Ticket, issue_ticket
from tests.support.vault import DATABASE, SECONDS, ServedStore

HANDLER = Path(__file__).parents[3] / "functions/prove/app.py"


def surroundings() -> dict[str, Any]:
    """What this box is like."""
    try:
        pwd.getpwuid(os.getuid())
        known = True
    except KeyError:
        known = False
    with socket.socket() as probe:
        network = probe.connect_ex(("192.0.2.1", 80)) == 0
    folders = ("/", "/var", "/dev", str(HANDLER.parent))
    writable = [folder for folder in folders if os.access(folder, os.W_OK)]
    shared = Path("/dev/shm").exists()  # noqa: S108
    return {"known": known, "network": network, "writable": writable, "shared": shared, "uid": os.getuid()}


def prove(store: ServedStore) -> dict[str, Any]:
    """The handler's answer about the newest backup."""
    manifest, digest = load_manifest(store, DATABASE, "latest")
    key = f"{DATABASE}/backups/{manifest.id}/manifest.json"
    keys = [(name, None) for name in store.keys()]  # noqa: SIM118 - not a mapping
    url = issue_ticket(store, Ticket(DATABASE, manifest.id, digest, key), keys, seconds=SECONDS)
    spec = importlib.util.spec_from_file_location("app", HANDLER)
    assert spec is not None
    assert spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    context = SimpleNamespace(function_name="prove", get_remaining_time_in_millis=lambda: SECONDS * 1000)
    answer: dict[str, Any] = app.handler({"ticket_url": url, "seconds": SECONDS}, context)
    return answer


def peek() -> dict[str, bool]:
    """Whether a process of the same user can read this one's environment, usually and during a proof."""

    def readable() -> bool:
        command = ["cat", f"/proc/{os.getpid()}/environ"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    usually = readable()
    with unreadable():
        return {"usually": usually, "proving": readable()}


def main() -> None:
    """Print one JSON object."""
    around, peeked = surroundings(), peek()
    with ServedStore() as store:
        with tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())) as tar:
            for member in tar:
                body = tar.extractfile(member)
                if body is not None:
                    store.put(member.name, body.read())
        answer = prove(store)
    left = [str(path) for path in Path("/tmp").iterdir() if path.name != ".dev"]  # noqa: S108
    sys.stdout.write(json.dumps({"around": around, "peeked": peeked, "answer": answer, "left": left}))


if __name__ == "__main__":
    main()
