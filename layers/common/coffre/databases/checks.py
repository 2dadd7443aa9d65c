"""The owner's checks as they are kept: in the registration itself, or in the vault where they are too long.

A list in the vault lies under ``<database>/checks/<sha256>.json``: its key is its content's hash, so it never
changes.  The registration names another one when the checks do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pydantic import TypeAdapter, ValidationError

from coffre.databases.registration import MAX_BYTES, OwnersCheck, Registration
from coffre.errors import InvalidChecksError, ObjectCorruptError, ObjectExistsError
from coffre.vault.layout import Layout
from coffre.vault.store import ObjectStore

MAX_TEXT = 256 << 10
"""Bytes of a list of checks: it travels in a ticket's first line."""

_LIST = TypeAdapter(list[OwnersCheck])


def parse_checks(text: str, *, where: str) -> list[OwnersCheck]:
    """Read a list of checks from JSON.

    Raises
    ------
    InvalidChecksError
        Naming each field that is wrong.
    """
    if len(text.encode()) > MAX_TEXT:
        raise InvalidChecksError(f"{where} takes more than {MAX_TEXT} bytes")
    try:
        checks = _LIST.validate_python(json.loads(text))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:10])
        raise InvalidChecksError(f"{where} is not a list of checks: {faults}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidChecksError(f"{where} is not JSON") from error
    names = [check.name for check in checks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidChecksError(f"{where} has several checks of the name {', '.join(twice)}")
    return checks


def with_checks(
    registration: Registration, checks: Sequence[OwnersCheck], store: ObjectStore, *, name: str
) -> Registration:
    """The registration with these checks; what doesn't fit into it is put into the vault.

    Parameters
    ----------
    name:
        The database's.

    Raises
    ------
    InvalidChecksError, StoreUnavailableError
    """
    inline = registration.model_copy(update={"checks": list(checks), "checks_in_vault": None})
    if len(inline.model_dump_json(exclude_defaults=True).encode()) <= MAX_BYTES:
        return inline
    body = json.dumps(_dump(checks), ensure_ascii=False, indent=1).encode()
    parse_checks(body.decode(), where=f"the checks of {name}")
    digest = hashlib.sha256(body).hexdigest()
    with suppress(ObjectExistsError):  # the same list may have been there before
        store.put_new(Layout(name).checks(digest), body, size=len(body), sha256=digest)
    return registration.model_copy(update={"checks": [], "checks_in_vault": digest})


def read_checks(registration: Registration, store: ObjectStore, *, name: str) -> list[OwnersCheck]:
    """The checks of a registered database, wherever they lie.

    Raises
    ------
    ObjectMissingError, ObjectCorruptError, InvalidChecksError, StoreUnavailableError
        If those in the vault can't be read.
    """
    digest = registration.checks_in_vault
    if digest is None:
        return registration.checks
    key = Layout(name).checks(digest)
    body = store.read(key, limit=MAX_TEXT)
    if hashlib.sha256(body).hexdigest() != digest:
        raise ObjectCorruptError(f"object {key} isn't the one that its key names")
    return parse_checks(body.decode("utf-8", "replace"), where=key)


def for_ticket(checks: Sequence[OwnersCheck]) -> tuple[dict[str, Any], ...]:
    """The checks as a ticket carries them: what is expected as the text that PostgreSQL gives."""
    return tuple({**check.model_dump(), "expect": check.expected_text} for check in checks)


def _dump(checks: Sequence[OwnersCheck]) -> list[dict[str, Any]]:
    return [check.model_dump(mode="json", exclude_defaults=True) for check in checks]
