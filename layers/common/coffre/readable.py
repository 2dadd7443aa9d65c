"""Text for people and for JSON: names that may hold bytes which are no characters, and many names."""

from __future__ import annotations

from collections.abc import Sequence


def readable(text: str) -> str:
    r"""``text`` with each byte that is carried as a surrogate written out as ``\xNN``.

    Names that aren't UTF-8 come so from a database (PEP 383).  Neither UTF-8 nor JSON has such characters.
    """
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def first_of(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are: ``a, b and 3 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
