"""Peak memory of every Python process of a backup, a verification with its proof, and a restore."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.lab import SCRATCH_MB, BenchError, Lab, Vault, finish
from bench.report import Goal, Table, mebibytes, ratio

POLL_SECONDS = 0.02
LIMIT = Goal("at most", 256, "MiB")
FLAT = Goal("at most", 1.25)
"""Of the larger database's peak to the smaller one's: what allocators and table sizes may differ by."""

HASHES = 3_125_000
"""Times 32 bytes: one value of 100 MB."""


@dataclass
class Watch:
    """Follows a process and its Python descendants; ``peaks`` holds bytes by role.

    A role is the verb that the process was started for; its workers are ``<verb>: workers``.
    """

    root: int
    peaks: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Watch while the block runs."""
        thread = threading.Thread(target=self._poll, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _poll(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self._look(self.root, "")

    def _look(self, pid: int, parent: str) -> None:
        home = Path(f"/proc/{pid}")
        try:
            role = _role((home / "cmdline").read_bytes().split(b"\0"), parent)
            if role is None:
                return
            peak = _peak((home / "status").read_text())
            tasks = [(task / "children").read_text().split() for task in (home / "task").iterdir()]
        except (FileNotFoundError, ProcessLookupError):
            return  # it has ended meanwhile
        self.peaks[role] = max(self.peaks[role], peak)
        for child in (int(child) for task in tasks for child in task):
            self._look(child, role)


def measure(lab: Lab) -> Iterator[Table]:
    """Peaks for a database, for one of eight times its size, and for a single value of 100 MB."""
    cases = {}
    factors = (lab.factor, 8 * lab.factor)
    for factor in factors:
        cases[f"factor {factor:g}"] = _case(lab, "sets/mixed.sql", lab.rows(factor))
    cases["100 MB value"] = _case(lab, "value.sql", {"hashes": HASHES})
    small, large = (cases[f"factor {factor:g}"] for factor in factors)
    rows = []
    for role in large:
        peaks = [case[role] for case in cases.values()]
        growth = large[role] / small[role]
        highest = max(peaks) / (1 << 20)
        rows.append([role, *map(mebibytes, peaks), ratio(growth), *_verdict(highest, growth)])
    columns = ("Python process", *cases, "growth", "goal", "verdict")
    notes = [
        f"The highest VmHWM of all processes of a kind, read every {POLL_SECONDS * 1000:.0f} ms: resident "
        "memory, the interpreter and its libraries included. PostgreSQL's own processes aren't Python.",
        f"A proof may fill {SCRATCH_MB >> 10} GiB here, and restores all of the larger database; in a "
        "function's 10 GB it would be a sample.",
        f"Growth from the first to the second database; flat is {FLAT.relation} {FLAT.limit:g} {FLAT.unit}.",
    ]
    yield Table("Peak memory", columns, rows, notes)


def _verdict(highest: float, growth: float) -> tuple[str, str]:
    goal, verdict = LIMIT.cells(highest)
    return f"{goal}, flat", verdict if FLAT.reached(growth) else "missed"


def _case(lab: Lab, script: str, numbers: dict[str, int]) -> dict[str, int]:
    """Back up, verify, prove and restore one database; the peaks by role."""
    peaks: dict[str, int] = {}
    with lab.server() as server, lab.vault() as vault:
        target = lab.fill(server, "memory", script, numbers)
        for verb, order in (
            ("backup", {"target": target, "number": 1}),
            ("verify", {}),
            ("restore", {"target": replace(server, database="restored")}),
        ):
            result, seen = _watched(vault, verb, database="bench", **order)
            lab.say(", ".join(f"{role} {mebibytes(peak)}" for role, peak in seen.items()))
            peaks |= seen
            if verb == "verify" and result["verdict"] != "proven":
                raise BenchError(f"the proof says {result['verdict']}: {result['reasons']}")
    return peaks


def _watched(vault: Vault, verb: str, **order: Any) -> tuple[dict[str, Any], dict[str, int]]:
    process = vault.start(verb)
    watch = Watch(process.pid)
    with watch.running():
        ran = finish(process, verb, **order)
    return ran.result, dict(watch.peaks)


def _role(command: list[bytes], parent: str) -> str | None:
    """What a process is for; None for a program that isn't ours."""
    if b"python" not in Path(command[0].decode()).name.encode():
        return None
    if b"coffre.worker" in command:
        return f"{parent.removesuffix(': workers')}: workers"
    return command[command.index(b"bench.product") + 1].decode() if b"bench.product" in command else parent


def _peak(status: str) -> int:
    """The highest resident size in bytes; see proc_pid_status(5)."""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return 0
