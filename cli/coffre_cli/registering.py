"""Writing and removing registrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError
from pydantic import ValidationError

from coffre.databases.postgresql.target import Target
from coffre.databases.registration import Registration, Retention, encode
from coffre.errors import DatabaseExistsError, InvalidRegistrationError, UnknownDatabaseError
from coffre_cli.errors import UsageError
from coffre_cli.secret import database_secret, delete_secret, scratch_secret, write_secret
from coffre_cli.stack import Stack


def read_retention(pairs: Sequence[str]) -> dict[str, int | str]:
    """``["daily=7", "hourly=3d", ...]`` as counts, or days, by tier.

    Raises
    ------
    UsageError
    """
    read: dict[str, int | str] = {}
    for pair in pairs:
        tier, _, number = pair.partition("=")
        if not number.removesuffix("d").isdecimal():
            raise UsageError(f"--retention {pair} isn't of the form daily=7 or daily=30d")
        field = tier.replace("-", "_")
        if field not in Retention.model_fields:
            tiers = ", ".join(Retention.model_fields)
            raise UsageError(f"--retention {pair}: there is no tier {tier!r}", f"There are: {tiers}.")
        read[field] = int(number) if number.isdecimal() else number
    return read


def read_endpoints(texts: Sequence[str]) -> list[dict[str, Any]]:
    """``["https://shop.example/health 204 2.5", ...]``: a URL, its status, and its seconds.

    Raises
    ------
    UsageError
    """
    found: list[dict[str, Any]] = []
    for text in texts:
        pieces = text.split()
        if not 1 <= len(pieces) <= 3:
            raise UsageError("--endpoint is 'URL', 'URL STATUS' or 'URL STATUS SECONDS'")
        found.append(dict(zip(("url", "status", "within"), pieces, strict=False)))
    return found


def read_limits(pairs: Sequence[str]) -> dict[str, int]:
    """``["active_sessions=50", ...]`` as numbers by the limit's name.

    Raises
    ------
    UsageError
    """
    read: dict[str, int] = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        if not number.isdecimal():
            raise UsageError(f"--limit {pair} isn't of the form active_sessions=50")
        read[name.replace("-", "_")] = int(number)
    return read


def build(name: str, secret: str, decided: dict[str, Any]) -> Registration:
    """A registration of what was decided; what isn't in ``decided`` has its default.

    Raises
    ------
    InvalidRegistrationError
        Naming each value that isn't possible, or if it would not fit into a parameter.
    """
    try:
        entry = Registration.model_validate({"secret": secret, **decided})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidRegistrationError(
            f"{name} can't be registered so: {faults}", "Correct the options."
        ) from error
    encode(entry, name=name)
    return entry


def register(stack: Stack, name: str, entry: Registration, secrets: Mapping[str, Target]) -> None:
    """Write the secrets, then the parameter; nothing stays if the parameter can't be written.

    Parameters
    ----------
    secrets:
        What each of them says, by its name.

    Raises
    ------
    DatabaseExistsError
        Nothing was changed then.
    """
    path, parameters = f"{stack.registrations}/{name}", stack.client("ssm")
    if _exists(parameters, path):
        raise DatabaseExistsError(f"a database {name} is registered already")
    for secret, target in secrets.items():
        write_secret(stack, secret, target)
    try:
        parameters.put_parameter(Name=path, Value=encode(entry, name=name), Type="String", Overwrite=False)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ParameterAlreadyExists":
            # Somebody else registered it at this moment: the secrets are theirs by now.
            raise DatabaseExistsError(f"a database {name} is registered already") from error
        for secret in secrets:
            delete_secret(stack, secret)
        raise


def replace_registration(stack: Stack, name: str, entry: Registration) -> None:
    """Write a registration over the one that is there."""
    path = f"{stack.registrations}/{name}"
    stack.client("ssm").put_parameter(
        Name=path, Value=encode(entry, name=name), Type="String", Overwrite=True
    )


def unregister(stack: Stack, name: str) -> None:
    """Remove the parameter, then our own secrets; a secret that was only named is left alone.

    Raises
    ------
    UnknownDatabaseError
    """
    try:
        stack.client("ssm").delete_parameter(Name=f"{stack.registrations}/{name}")
    except ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            raise UnknownDatabaseError(f"no database {name} is registered") from error
        raise
    delete_secret(stack, database_secret(stack, name))
    delete_secret(stack, scratch_secret(stack, name))


def _exists(parameters: Any, path: str) -> bool:
    try:
        parameters.get_parameter(Name=path)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            return False
        raise
    return True
