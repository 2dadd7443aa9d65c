"""Every error has a code of its own, says what to do, and stands in the documentation.

`python -m tests.contract.test_errors` prints the page; write it to docs/errors.md after a change.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import coffre_cli.errors
from coffre.errors import CoffreError, describe, error_classes, revive

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def of_module(name: str) -> list[type[CoffreError]]:
    """The classes that a module, or one below it, defines, by their codes."""
    found = (cls for cls in error_classes().values() if f"{cls.__module__}.".startswith(f"{name}."))
    return sorted(found, key=lambda cls: cls.code)


LIBRARY = of_module("coffre.errors")
COMMAND = of_module(coffre_cli.errors.__name__)
CLASSES = [*LIBRARY, *COMMAND]


def page() -> str:
    """docs/errors.md."""
    head = [
        "# Errors",
        "",
        "Each cause has a class and a code that never changes."
        " `coffre` exits with the number in the last column.",
        "",
    ]
    between = ["", "The command has some of its own, on the way between it and a stack:", ""]
    return "\n".join([*head, *_table(LIBRARY), *between, *_table(COMMAND)]) + "\n"


def _table(classes: list[type[CoffreError]]) -> list[str]:
    head = ["| code | what it means | what to do | exit |", "|---|---|---|---|"]
    rows = [
        f"| `{cls.code}` | {(cls.__doc__ or '').splitlines()[0]} | {cls.advice} | {cls.exit_code} |"
        for cls in classes
    ]
    return [*head, *rows]


def test_the_page_lists_every_error() -> None:
    assert PAGE.read_text() == page()


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in CLASSES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.code)
def test_an_error_survives_the_way_from_one_process_to_another(cls: type[CoffreError]) -> None:
    error = cls("table shop.orders is on fire", "Call the brigade.")
    again = revive(describe(error))
    assert (type(again), str(again)) == (cls, str(error))


if __name__ == "__main__":
    print(page(), end="")
