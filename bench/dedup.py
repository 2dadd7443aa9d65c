"""Second backups: how much of an unchanged, an extended and a changed table is stored anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.lab import BenchError, Lab, execute
from bench.report import Goal, Table, ratio

ENTRIES = 10_000_000
"""About 1 GB on disk, and below the 1 GiB from which on tables get larger chunks."""

NOTHING, LITTLE = Goal("at most", 0, "chunks"), Goal("at most", 5, "%")
VACUUM = "VACUUM (INDEX_CLEANUP ON) ledger"
NEW_ROWS = (
    "INSERT INTO ledger SELECT i, i * 7919 % 250000, (i * 31 % 1000000) / 100.0, "
    "timestamptz '2020-01-01 00:00:00Z' + i * interval '31 seconds', md5({salt} || i::text) "
    "FROM generate_series({first}::bigint, {last}) AS i"
)


@dataclass(frozen=True)
class Step:
    """A change, and what the backup after it may store."""

    name: str
    statements: tuple[str, ...]
    goal: Goal | None


def measure(lab: Lab) -> Iterator[Table]:
    """Backups of one table after one change each, each compared with the one before."""
    entries = int(ENTRIES * lab.factor)
    rows = []
    with lab.server() as server, lab.vault() as vault:
        target = lab.fill(server, "dedup", "ledger.sql", {"entries": entries})
        size = int(execute(target, "SELECT pg_table_size('ledger')")[0][0])
        first = vault.run("backup", database="bench", target=target, number=1)
        for number, step in enumerate(_steps(entries), 2):
            lab.say(step.name)
            for statement in step.statements:
                execute(target, statement)
            ran = vault.run("backup", database="bench", target=target, number=number)
            expected = execute(target, "SELECT count(*) FROM ledger")[0][0]
            if ran.result["rows"] != expected:
                raise BenchError(f"the backup holds {ran.result['rows']} rows, the server {expected}")
            rows.append(_row(step, ran.result, ran.seconds / first.seconds))
    notes = [
        f"One table of {size / 1e9:.2f} GB on disk, {first.result['bytes'] / 1e9:.2f} GB of COPY text, "
        f"{first.result['chunks']} chunks; each backup is compared with the one before it.",
        "PostgreSQL never changes a row where it lies: an UPDATE writes new rows to free space, at the end "
        "if there is none, and COPY reads rows in physical order. Changes of one region make one hole and "
        "one run of new rows; scattered ones make a hole in nearly every chunk.",
        "Deleting a region, VACUUM and inserting it again puts the new rows where the old ones were.",
    ]
    columns = (
        "change",
        "new bytes",
        "of the backup's",
        "new chunks",
        "of the first's time",
        "goal",
        "verdict",
    )
    yield Table("Second backups", columns, rows, notes)


def _steps(entries: int) -> list[Step]:
    percent = entries // 100

    def region(start: int) -> str:
        return f"id > {start} AND id <= {start + percent}"

    def update(where: str) -> str:
        return f"UPDATE ledger SET reference = md5(reference), amount = amount + 1 WHERE {where}"

    third, half = entries // 3, entries // 2
    rewritten = NEW_ROWS.format(salt="'again'", first=half + 1, last=half + percent)
    appended = NEW_ROWS.format(salt="''", first=entries + 1, last=entries + percent)
    return [
        Step("nothing", (), NOTHING),
        Step("1 % appended", (appended,), LITTLE),
        Step("1 % updated in one region: new rows go to the end", (update(region(third)),), LITTLE),
        Step(
            "1 % updated elsewhere after VACUUM: new rows go to the hole",
            (VACUUM, update(region(2 * third))),
            LITTLE,
        ),
        Step(
            "1 % rewritten in place (DELETE, VACUUM, INSERT)",
            (VACUUM, f"DELETE FROM ledger WHERE {region(half)}", VACUUM, rewritten),
            LITTLE,
        ),
        Step("0.1 % updated at random", (update("hashint8(id) % 1000 = 0"),), None),
    ]


def _row(step: Step, result: dict[str, object], time: float) -> list[str]:
    new, stored = int(str(result["new_bytes"])), int(str(result["stored_bytes"]))
    share, chunks = new / stored * 100, int(str(result["new_chunks"]))
    goal, verdict = "shown as it is", "-"
    if step.goal is not None:
        goal, verdict = step.goal.cells(chunks if step.goal is NOTHING else share)
    amount = f"{chunks} of {result['chunks']}"
    return [step.name, f"{new / 1e6:.1f} MB", f"{share:.1f} %", amount, ratio(time), goal, verdict]
