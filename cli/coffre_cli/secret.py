"""The secrets that the command writes: databases' credentials and restores' targets."""

from __future__ import annotations

import json
import re
import secrets as random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.urls import format_url, names_database, parse_url
from coffre.errors import InvalidUrlError
from coffre_cli import asking
from coffre_cli.errors import UsageError
from coffre_cli.stack import Stack

TARGET_KEPT = timedelta(days=2)
"""A target's secret that nobody has read for so long belongs to no run: each step of a restore reads it, and
the service tells the day of that.
Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_SecretListEntry.html"""
DESCRIPTION = "Written by the coffre command"
_OURS = re.compile(r"[0-9a-f]{12}\Z")
"""The last piece of the name of a target's secret, as `new_target_secret` makes it."""


def read_target(url: str, ca: Path | None, *, named: bool = False) -> Target:
    """Where a URL from the command line points; ``-`` reads it from standard input, or asks for it.

    Parameters
    ----------
    named:
        Refuse a URL without a database: rows aren't restored into one that nobody named.

    Raises
    ------
    InvalidUrlError, UsageError
        The message never shows the URL.
    """
    text = asking.secret_line("URL") if url == "-" else url
    if url == "-" and not text:
        raise UsageError("standard input holds no URL")
    try:
        text.encode()
        target = parse_url(text)
    except ValueError as error:
        # It isn't UTF-8, or urlsplit refused it, whose messages may repeat a part of the URL.
        raise InvalidUrlError("the URL is malformed") from error
    if named and not names_database(text):
        raise InvalidUrlError("the URL names no database", "Name it: postgresql://user@host/database.")
    if ca is None:
        return target
    try:
        bundle = ca.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it isn't text"
        raise UsageError(f"the CA bundle {ca} can't be read: {why}", "Name another file.") from error
    if "BEGIN CERTIFICATE" not in bundle:
        raise UsageError(f"{ca} holds no certificate in PEM")
    return replace(target, ca=bundle)


def write_secret(stack: Stack, name: str, target: Target) -> None:
    """Write a secret, or a new version of it."""
    content = {"url": format_url(target), **({"ca": target.ca} if target.ca else {})}
    client, text = stack.client("secretsmanager"), json.dumps(content)
    try:
        client.create_secret(Name=name, SecretString=text, Description=DESCRIPTION)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceExistsException":
            raise
        client.put_secret_value(SecretId=name, SecretString=text)


def delete_secret(stack: Stack, name: str) -> None:
    """Delete a secret at once; one that isn't there is fine."""
    try:
        stack.client("secretsmanager").delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise


def database_secret(stack: Stack, database: str) -> str:
    """The name of a database's own secret."""
    return f"{stack.secrets}/databases/{database}"


def scratch_secret(stack: Stack, database: str) -> str:
    """The name of the secret of a database's scratch server, where the restore function may read it."""
    return f"{stack.secrets}/targets/scratch-{database}"


def new_target_secret(stack: Stack) -> str:
    """A name for the secret of one restore's target."""
    return f"{stack.secrets}/targets/{random.token_hex(6)}"


@contextmanager
def held(stack: Stack, to: str | None, ca: Path | None) -> Iterator[dict[str, str]]:
    """A secret with a target's URL for as long as the block needs it; nothing if there is no URL.

    Yields
    ------
    dict
        What names it in an event.
    """
    if to is None:
        yield {}
        return
    target = read_target(to, ca)
    sweep_targets(stack)
    name = new_target_secret(stack)
    try:
        write_secret(stack, name, target)
        yield {"target_secret": name}
    finally:
        delete_secret(stack, name)


def last_use(secret: Mapping[str, Any]) -> datetime:
    """When a secret was made, or the day on which it was read last, of an entry in the service's list."""
    made: datetime = secret["CreatedDate"]
    return max(made, secret.get("LastAccessedDate") or made)


def sweep_targets(stack: Stack) -> int:
    """Delete targets' secrets that earlier restores left and that no run can use any more; how many.

    Others below the same prefix, such as those of scratch servers, are the owner's.  A caller who may not
    list secrets sweeps nothing.
    """
    prefix, oldest = f"{stack.secrets}/targets/", datetime.now(UTC) - TARGET_KEPT
    pages = stack.client("secretsmanager").get_paginator("list_secrets")
    try:
        found = [
            item["Name"]
            for page in pages.paginate(Filters=[{"Key": "name", "Values": [prefix]}])
            for item in page["SecretList"]
            if item["Name"].startswith(prefix)
            and _OURS.match(item["Name"].removeprefix(prefix))
            and item.get("Description") == DESCRIPTION
            and last_use(item) < oldest
        ]
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return 0
    for name in found:
        delete_secret(stack, name)
    return len(found)
