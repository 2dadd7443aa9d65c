"""What a cold start pays before its handler runs: the import of each handler, and what is in it."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import runtime
from bench.lab import ROOT, BenchError, Lab
from bench.report import Table, ratio

RUNS = 5
HEAVIEST = 10
ENVIRONMENT = {
    "COFFRE_STACK": "bench",
    "COFFRE_BUCKET": "bench",
    "COFFRE_TABLE": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
}
BARE, BOTO = "pass", "import boto3"

WORKERS = {
    "capture": "import coffre.worker, coffre.backup.task, coffre.vault.store",
    "read": "import coffre.worker, coffre.verify.read, coffre.vault.store",
    "load": "import coffre.worker, coffre.databases.postgresql.load, coffre.vault.store",
    "compare": "import coffre.worker, coffre.databases.postgresql.readback",
    "late": "import coffre.worker, coffre.databases.postgresql.late",
}
"""What `coffre.worker.make_task` imports for each task."""

COUNT = "\nimport sys\nprint(len(sys.modules))"


@dataclass(frozen=True)
class Imported:
    """One line of ``-X importtime``: microseconds of the module alone, and with all that it imports first."""

    name: str
    own: int
    total: int


def measure(lab: Lab) -> Iterator[Table]:
    """Times, numbers of modules, and the heaviest ones of each handler."""
    verbs = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))
    codes = {BARE: (BARE, ROOT), BOTO: (BOTO, ROOT)}
    for verb in verbs:
        folder = ROOT / "functions" / verb
        codes[verb] = ("import app", folder)
        made = f"wiring.{verb}_services"
        if made in (folder / "app.py").read_text("utf-8"):  # others get a run's from the state machine
            codes[f"{verb}, services made"] = (f"import app\nfrom coffre import wiring\n{made}()", folder)
    codes |= {f"worker: {task}": (code, ROOT) for task, code in WORKERS.items()}
    times: dict[str, list[float]] = {name: [] for name in codes}
    for number in range(1, RUNS + 1):
        lab.say(f"run {number} of {RUNS}")
        for name, (code, folder) in codes.items():
            started = time.perf_counter()
            _python(lab, code, folder)
            times[name].append(time.perf_counter() - started)
    taken = {name: statistics.median(values) for name, values in times.items()}
    rows = [
        [
            name,
            f"{seconds * 1000:.0f} ms",
            ratio(seconds / taken[BARE]),
            ratio(seconds / taken[BOTO]),
            _python(lab, codes[name][0] + COUNT, codes[name][1]).stdout.strip(),
        ]
        for name, seconds in taken.items()
    ]
    notes = [
        f"Median of {RUNS} fresh interpreters, taken in turns; the whole process. `services made` is the "
        "handler with its clients, as it is when its work begins. No goal is set.",
        "The virtual environment holds what the layer holds, compiled.",
    ]
    columns = ("process", "time", "of a bare Python", "of `import boto3`", "modules")
    yield Table("Imports", columns, rows, notes)
    yield _heaviest(lab, verbs)


def _heaviest(lab: Lab, verbs: list[str]) -> Table:
    rows = []
    for verb in verbs:
        found = _importtime(lab, ROOT / "functions" / verb)
        packages: dict[str, int] = {}
        for module in found:
            package = module.name.split(".")[0]
            packages[package] = packages.get(package, 0) + module.own
        total = sum(packages.values())
        rows.append(
            [verb, _named(packages, total), _named({module.name: module.own for module in found}, total)]
        )
    notes = [
        "From `-X importtime`: each module's own time in % of all imports of the process, site's included."
    ]
    return Table("The heaviest imports", ("handler", "packages", "modules"), rows, notes)


def _named(times: dict[str, int], total: int) -> str:
    heaviest = sorted(times.items(), key=lambda entry: -entry[1])[:HEAVIEST]
    return ", ".join(f"{name} {own / total:.0%}" for name, own in heaviest)


def _importtime(lab: Lab, folder: Path) -> list[Imported]:
    found = []
    for line in _python(lab, "import app", folder, "-X", "importtime").stderr.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        total, _, name = rest.partition("|")
        if own.strip().isdigit():
            found.append(Imported(name.strip(), int(own), int(total)))
    return found


def _python(lab: Lab, code: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(lab.python), *options, "-c", code]
    environment = {**runtime.environment(), **ENVIRONMENT}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{code!r} in {folder.name} failed: {done.stderr.strip()}")
    return done
