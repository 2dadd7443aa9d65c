"""Connection URLs and secrets.

A URL has libpq's form: ``postgresql://user:password@host:5432/database?sslmode=verify-full`` or, for a unix
socket, ``postgresql:///database?host=/folder&port=5432&user=name``.
Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from coffre.databases.postgresql.target import Target
from coffre.errors import InvalidUrlError

_SCHEMES = ("postgresql", "postgres")
_PARAMETERS = {"host", "port", "user", "password", "dbname", "sslmode", "sslrootcert"}
_SSLMODES = ("disable", "require", "verify-ca", "verify-full")
_ENCODE = (
    "Use postgresql://user@host:5432/database.  Special characters of a password must be percent-encoded: "
    "%23 for #, %2F for /, %3F for ?, %40 for @, %25 for %, %5B for [."
)


def parse_url(url: str) -> Target:
    """Where a URL points.

    ``sslmode`` is ``verify-full`` unless the URL says otherwise; ``allow`` and ``prefer`` are refused,
    because they would fall back to plain text in silence.

    Raises
    ------
    InvalidUrlError
        If it isn't such a URL or has a parameter that isn't supported.  The message never shows the URL.
    """
    if url.partition("://")[0] not in _SCHEMES:
        raise InvalidUrlError("the URL doesn't start with postgresql://")
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        port = 5432 if parts.port is None else _port(str(parts.port))
    except ValueError as error:
        raise InvalidUrlError("the URL's host, port or parameters are malformed", _ENCODE) from error
    query = dict(pairs)
    unknown = sorted(set(query) - _PARAMETERS)
    if unknown or len(query) != len(pairs):
        what = f"parameters that aren't supported: {', '.join(unknown)}" if unknown else "a parameter twice"
        raise InvalidUrlError(f"the URL has {what}")
    host = query.get("host") or unquote(parts.hostname or "")
    user = query.get("user") or unquote(parts.username or "")
    if not host or not user:
        raise InvalidUrlError(f"the URL names no {'user' if host else 'host'}", _ENCODE)
    return Target(
        host=host,
        port=_port(query["port"]) if query.get("port") else port,
        user=user,
        database=query.get("dbname") or unquote(parts.path.removeprefix("/")) or user,
        password=query.get("password") or (unquote(parts.password) if parts.password else None),
        sslmode=_sslmode(query.get("sslmode", "verify-full")),
        ca=_read_ca(query["sslrootcert"]) if query.get("sslrootcert", "system") != "system" else None,
    )


def names_database(url: str) -> bool:
    """Whether a URL that `parse_url` reads says which database it means; else libpq takes the user's name."""
    parts = urlsplit(url)
    return bool(dict(parse_qsl(parts.query)).get("dbname") or parts.path.removeprefix("/"))


def format_url(target: Target) -> str:
    """A URL for ``target``, password included, its CA bundle not: the inverse of `parse_url`."""
    query = {"host": target.host, "port": str(target.port), "user": target.user, "sslmode": target.sslmode}
    if target.password is not None:
        query["password"] = target.password
    return f"postgresql:///{quote(target.database, safe='')}?{urlencode(query)}"


def parse_secret(text: str, *, database: str | None = None) -> Target:
    """Where a secret points.

    Parameters
    ----------
    text:
        A URL, or JSON: ``{"url": ..., "ca": PEM}``, or the form that RDS manages (``username``, ``password``,
        ``host``, ``port``, ``dbname``).
        Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html
    database:
        Overrides the database's name.

    Raises
    ------
    InvalidUrlError
    """
    target = _from_json(text) if text.lstrip().startswith("{") else parse_url(text.strip())
    return replace(target, database=database) if database else target


def with_credentials(target: Target, text: str) -> Target:
    """``target`` with the user and the password of a secret that RDS manages.

    Source: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html

    Raises
    ------
    InvalidUrlError
        If the text isn't JSON with ``username`` and ``password``.
    """
    try:
        content = json.loads(text)
        return replace(target, user=str(content["username"]), password=str(content["password"]))
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidUrlError("the credentials' secret is not JSON with `username` and `password`") from error


def _from_json(text: str) -> Target:
    try:
        content: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise InvalidUrlError("the secret is not JSON") from error
    ca = content.get("ca")
    if "url" in content:
        target = parse_url(str(content["url"]))
        return replace(target, ca=str(ca)) if ca else target
    missing = [name for name in ("host", "username", "password") if not content.get(name)]
    if missing:
        raise InvalidUrlError(f"the secret has neither `url` nor {', '.join(missing)}")
    return Target(
        host=str(content["host"]),
        port=_port(str(content.get("port", 5432))),
        user=str(content["username"]),
        database=str(content.get("dbname") or "postgres"),
        password=str(content["password"]),
        sslmode=_sslmode(str(content.get("sslmode", "verify-full"))),
        ca=str(ca) if ca else None,
    )


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65_536:
        raise InvalidUrlError("the port is not a number from 1 to 65535")
    return int(text)


def _sslmode(text: str) -> str:
    if text not in _SSLMODES:
        raise InvalidUrlError(f"sslmode={text} is not supported", f"Use one of {', '.join(_SSLMODES)}.")
    return text


def _read_ca(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise InvalidUrlError(f"sslrootcert names {path}, which can't be read") from error
