"""Text for people and for JSON, of names that may hold bytes which are no characters."""

from __future__ import annotations


def readable(text: str) -> str:
    r"""``text`` with each byte that is carried as a surrogate written out as ``\xNN``.

    Names that aren't UTF-8 come so from a database (PEP 383).  Neither UTF-8 nor JSON has such characters.
    """
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
