"""The registered databases: parameters in SSM, credentials in Secrets Manager."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from coffre.databases.postgresql.target import Source, Target
from coffre.databases.registration import Registration, decode
from coffre.errors import (
    CatalogueUnavailableError,
    InvalidRegistrationError,
    SecretNotFoundError,
    UnknownDatabaseError,
)
from coffre.ids import BackupType


@dataclass(frozen=True)
class Registered:
    """Registrations by name: one that isn't valid must not stop what is done for the others.

    Attributes
    ----------
    valid:
        Those that can be read.
    invalid:
        What is wrong with each of the rest.
    """

    valid: Mapping[str, Registration]
    invalid: Mapping[str, InvalidRegistrationError] = field(default_factory=dict)


class Registry:
    """What is registered in one stack.

    Parameters
    ----------
    parameters, secrets:
        boto3 clients of SSM and Secrets Manager.
    path:
        The SSM path of the registrations, without a trailing slash.
    """

    def __init__(self, parameters: Any, secrets: Any, path: str) -> None:
        self._parameters = parameters
        self._secrets = secrets
        self._path = path

    def names(self) -> list[str]:
        """The names of all registered databases, sorted."""
        return sorted(name for name, _ in self._all())

    def all(self) -> Registered:
        """All registrations, in the order of their names.

        Raises
        ------
        CatalogueUnavailableError
        """
        valid: dict[str, Registration] = {}
        invalid: dict[str, InvalidRegistrationError] = {}
        for name, text in sorted(self._all()):
            try:
                valid[name] = decode(text, name=name)
            except InvalidRegistrationError as error:
                invalid[name] = error
        return Registered(valid, invalid)

    def get(self, name: str) -> Registration:
        """One registration.

        Raises
        ------
        UnknownDatabaseError, InvalidRegistrationError, CatalogueUnavailableError
        """
        try:
            answer = self._parameters.get_parameter(Name=f"{self._path}/{name}")
        except ClientError as error:
            if error.response["Error"]["Code"] == "ParameterNotFound":
                raise UnknownDatabaseError(f"no database {name} is registered") from error
            raise _unavailable(error) from error
        except BotoCoreError as error:
            raise _unavailable(error) from error
        return decode(answer["Parameter"]["Value"], name=name)

    def target(self, registration: Registration) -> Target:
        """Where a registered database is, with its credentials as they are now.

        Raises
        ------
        SecretNotFoundError, InvalidUrlError
        """
        return self._target(registration, registration.secret)

    def source(self, registration: Registration, kind: BackupType) -> Source:
        """Where a backup of this type reads: the named replica, or the database itself.

        What takes a database's place waits for its safety backup, which therefore reads the database itself.

        Raises
        ------
        SecretNotFoundError, InvalidUrlError
        """
        database = self.target(registration)
        if registration.replica is None or kind == "safety":
            return Source(database)
        return Source(self._target(registration, registration.replica), primary=database)

    def secret(self, name: str) -> str:
        """The text of a secret.

        Raises
        ------
        SecretNotFoundError
        """
        try:
            return str(self._secrets.get_secret_value(SecretId=name)["SecretString"])
        except ClientError as error:
            raise SecretNotFoundError(f"secret {name}: {error.response['Error']['Code']}") from error
        except (BotoCoreError, KeyError) as error:
            raise SecretNotFoundError(f"secret {name}: {type(error).__name__}") from error

    def _target(self, registration: Registration, secret: str) -> Target:
        credentials = self.secret(registration.credentials) if registration.credentials else None
        return registration.target(self.secret(secret), credentials)

    def _all(self) -> Iterator[tuple[str, str]]:
        try:
            pages = self._parameters.get_paginator("get_parameters_by_path").paginate(Path=self._path)
            for page in pages:
                for item in page["Parameters"]:
                    yield item["Name"].removeprefix(f"{self._path}/"), item["Value"]
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(error) from error


def _unavailable(error: ClientError | BotoCoreError) -> CatalogueUnavailableError:
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    return CatalogueUnavailableError(
        f"the registrations can't be read: {code}", "Check SSM and the function's role."
    )
