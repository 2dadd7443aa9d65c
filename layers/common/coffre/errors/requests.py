"""What was asked can't be done as it was asked: events, settings, registrations, names."""

from __future__ import annotations

from coffre.errors.base import BadInputError


class InvalidEventError(BadInputError):
    """An event with unknown, missing or malformed fields."""

    code = "invalid-event"
    advice = "Compare the event with the examples in events/."


class InvalidSettingsError(BadInputError):
    """The function's environment is incomplete or malformed."""

    code = "invalid-settings"
    advice = "Deploy the template again; it sets every variable."


class InvalidRegistrationError(BadInputError):
    """A registered database's parameter is not valid JSON or does not fit its schema."""

    code = "invalid-registration"
    advice = "Correct it in SSM, or `coffre databases remove NAME` (backups stay) and add it again."


class InvalidChecksError(BadInputError):
    """The owner's checks aren't a list of checks."""

    code = "invalid-checks"
    advice = "Compare them with the example in docs/configuration.md, and try again."


class InvalidUrlError(BadInputError):
    """A connection URL that isn't one, or asks for something that isn't supported."""

    code = "invalid-url"
    advice = "Use postgresql://user@host:5432/database or postgresql:///database?host=/socket/dir&user=name."


class NoScratchServerError(BadInputError):
    """A drill has no server to restore to."""

    code = "no-scratch-server"
    advice = "Name one in the registration (`scratch`), or give its URL."


class NoUpgradeError(BadInputError):
    """The major version to rehearse an upgrade to isn't newer than the one that a backup comes from."""

    code = "no-upgrade"
    advice = "Name a newer major version."


class UnknownDatabaseError(BadInputError):
    """No database is registered under this name."""

    code = "unknown-database"
    advice = "`coffre databases list` shows the registered ones."


class DatabaseExistsError(BadInputError):
    """A database is already registered under this name."""

    code = "database-exists"
    advice = "Remove it first, or choose another name."


class UnknownBackupError(BadInputError):
    """No such backup in the vault."""

    code = "unknown-backup"
    advice = "`coffre list NAME` shows the backups of a database."


class SecretNotFoundError(BadInputError):
    """The secret with the credentials doesn't exist or can't be read."""

    code = "secret-unreadable"
    advice = "Check the secret's name and that the function's role may read it."
