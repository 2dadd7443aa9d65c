"""Creating a database with another one's encoding and collation, or with the nearest that the server has.

Source: https://www.postgresql.org/docs/current/sql-createdatabase.html
"""

from __future__ import annotations

from collections.abc import Iterator

from coffre.databases.postgresql.connection import Session, identifier, literal
from coffre.errors import QueryFailedError
from coffre.vault.manifest import Locale


def create_database(session: Session, name: str, locale: Locale) -> str | None:
    """Create an empty database.

    Machines differ in the locales of their C library, so another may have to take the place of the source's:
    ICU's of the same name, which knows the letters of all languages; else C with Unicode's classes; else C.

    Returns
    -------
    str or None
        What it was created with, if not with the source's own.

    Raises
    ------
    CoffreError
        If not even collation C works, for example for an encoding that only clients may use.
    """
    start = f"CREATE DATABASE {identifier(name)} TEMPLATE template0 ENCODING {literal(locale.encoding)}"
    for label, options in _choices(locale, session.major):
        try:
            session.run(f"{start} {options}")
        except QueryFailedError:
            continue
        return label
    session.run(f"{start} {_libc('C', 'C', session.major)}")
    return None if (locale.provider, locale.collate, locale.ctype) == ("c", "C", "C") else "C"


def _choices(locale: Locale, major: int) -> Iterator[tuple[str | None, str]]:
    """What to call it (None: the source's own), and the options of CREATE DATABASE."""
    name = literal(locale.locale or "")
    if locale.provider == "i":
        for collate, ctype in ((locale.collate, locale.ctype), ("C", "C")):
            yield None, f"{_classes(collate, ctype)} LOCALE_PROVIDER icu ICU_LOCALE {name}"
    elif locale.provider == "b":
        for collate, ctype in ((locale.collate, locale.ctype), ("C", "C")):
            yield None, f"{_classes(collate, ctype)} LOCALE_PROVIDER builtin BUILTIN_LOCALE {name}"
    elif locale.collate not in {"C", "POSIX"} or locale.ctype not in {"C", "POSIX"}:
        yield None, _libc(locale.collate, locale.ctype, major)
        language = locale.collate.partition(".")[0].partition("@")[0].replace("_", "-")
        if major >= 15 and language not in {"C", "POSIX"}:
            options = f"{_classes('C', 'C')} LOCALE_PROVIDER icu ICU_LOCALE {literal(language)}"
            yield f"ICU's {language}", options
        yield "C.UTF-8", _libc("C", "C.UTF-8", major)


def _libc(collate: str, ctype: str, major: int) -> str:
    return f"{_classes(collate, ctype)}{' LOCALE_PROVIDER libc' if major >= 15 else ''}"


def _classes(collate: str, ctype: str) -> str:
    return f"LC_COLLATE {literal(collate)} LC_CTYPE {literal(ctype)}"
