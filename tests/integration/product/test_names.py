"""Names are data: whatever a table, a column, a role or a database is called, nothing of it is obeyed."""

from __future__ import annotations

from pathlib import Path

from coffre.databases.postgresql.connection import identifier, literal, qualified
from coffre.databases.postgresql.server import EphemeralServer
from tests.support.postgres import create, databases, dumped, sql, target, url
from tests.support.stack import Stack

TRAP = "/tmp/coffre-trap"  # noqa: S108 - the names below try to make it

OBJECTS = [
    "line\nbreak",
    'double"quote',
    "single'quote",
    "sla/sh",
    "..",
    "../../chunks/00",
    "😀 日本",
    "x" * 63,
    "é" * 31 + "y",
    "Case",
    "case",
    "CASE",
    "%2e%2e",
    "%s %(x)s {0}",
    "back\\slash",
    "\\.",
    f"\\! touch {TRAP}",
    f"$(touch {TRAP})",
    f"`touch {TRAP}`",
    "; DROP TABLE case; --",
    "-c",
    " ",
    "tab\tname",
    "select",
    "\u202eright to left",
]

DATABASES = [
    "dbname=postgres host=evil.invalid",
    "postgresql://evil.invalid/postgres",
    f"--file={TRAP}",
    f"a $(touch {TRAP}) 'b' \"c\" \\d %41;\n{{e}}",
]


def test_hostile_names_of_objects_are_backed_up_proven_and_restored(
    stack: Stack, server16: EphemeralServer, postgres_root: Path
) -> None:
    statements = []
    for number, name in enumerate(OBJECTS):
        role, other = identifier(name), identifier(OBJECTS[number - 1])
        table = qualified(name, OBJECTS[-number])
        statements += [
            *([f"CREATE ROLE {role}"] if "\n" not in name else []),
            f"CREATE SCHEMA {role}; CREATE TABLE {table} ({role} text, {other} serial PRIMARY KEY)",
            f"INSERT INTO {table} ({role}) VALUES ({literal(name)}), (NULL), ('\\.')",
            f"COMMENT ON TABLE {table} IS {literal(name)}",
            *([f"ALTER TABLE {table} OWNER TO {role}"] if "\n" not in name else []),
        ]
    source = create(server16, "names", *statements)

    stack.register("names", url(server16, "names"))
    answer = stack.backup("names")
    assert (answer["relations"], answer["rows"]) == (len(OBJECTS), 3 * len(OBJECTS))
    keys = stack.keys("names/")
    assert all(key.isascii() and ".." not in key and "//" not in key for key in keys)
    stack.drain()
    assert {event.type for event in stack.events("names")} == {"Backup Completed", "Proof Passed"}

    stack.restore("names", url(server16, "names_restored"))
    assert dumped(postgres_root, target(server16, "names_restored")) == dumped(postgres_root, source)
    assert not Path(TRAP).exists()


def test_hostile_names_of_databases_reach_that_database_and_no_other(
    stack: Stack, server16: EphemeralServer
) -> None:
    for number, name in enumerate(DATABASES):
        create(server16, name, f"CREATE TABLE me (name text); INSERT INTO me VALUES ({literal(name)})")
        stack.register(f"named-{number}", url(server16, name))
        assert stack.backup(f"named-{number}")["rows"] == 1
    for number in range(len(DATABASES)):
        proof = stack.told(f"named-{number}", "Proof")
        assert (proof.detail["reasons"], proof.type) == ([], "Proof Passed")
    for number, name in enumerate(DATABASES[-2:], len(DATABASES) - 2):
        restored = f"{name} again"
        stack.restore(f"named-{number}", url(server16, restored))
        assert restored in databases(server16)
        assert sql(target(server16, restored), "SELECT name FROM me") == [[name]]
    assert not Path(TRAP).exists()
