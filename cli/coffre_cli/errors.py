"""What can go wrong between the command and a stack, and where vendors' errors are translated."""

from __future__ import annotations

import re

from coffre.errors import (
    BadInputError,
    CoffreError,
    FunctionFailedError,
    InvalidEventError,
    error_classes,
)

_PARSED = re.compile(r"not a valid \w+: ")
_FIELD = re.compile(r"(^|; )(\w+): (?:Value error, )?")

_LOGIN_CODES = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
}


class UsageError(BadInputError):
    """The command was called with arguments that don't fit together."""

    code = "bad-usage"
    advice = "`--help` shows what is possible."


class NoStackError(BadInputError):
    """Neither a deployed stack was named nor does a local cloud run here."""

    code = "no-stack"
    advice = (
        "Start one with `coffre local up --detach`, or name a deployed stack with `--stack` or COFFRE_STACK."
    )


class UnknownStackError(BadInputError):
    """CloudFormation knows no such stack, or it isn't one of Coffre's."""

    code = "unknown-stack"
    advice = "Check the stack's name, the region and the account (`aws sts get-caller-identity`)."


class CredentialsError(BadInputError):
    """There are no usable AWS credentials, or no region."""

    code = "no-credentials"
    advice = "Log in to AWS, or set AWS_PROFILE and AWS_REGION."


class NotConfirmedError(BadInputError):
    """A restore was not confirmed; nothing was changed."""

    code = "not-confirmed"
    advice = "Read the plan and answer yes, or give `--yes` where nobody can be asked."


class UnknownScheduleNameError(BadInputError):
    """The local cloud has no schedule of that name."""

    code = "unknown-schedule"


class AwsError(CoffreError):
    """An AWS service refused, failed or can't be reached."""

    code = "aws-refused"
    advice = "Check the rights of your credentials, the region and the network."


class SystemRefusedError(CoffreError):
    """This machine's own system refused a file, a folder or a connection."""

    code = "system-refused"
    advice = "Check the path and its rights, the room on the disk, and the network."


class OutputLostError(CoffreError):
    """The result can't be written to standard output."""

    code = "output-lost"
    advice = "What was asked for is done; only its result isn't shown."


class LocalCloudFailedError(CoffreError):
    """The local cloud can't be started, asked or stopped."""

    code = "local-cloud"
    advice = "`daemon.log` in its state folder tells more."


def translate(error: Exception) -> CoffreError | None:
    """One of ours for an error of boto3, the local cloud or the system; None for anything else."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        CredentialRetrievalError,
        NoCredentialsError,
        NoRegionError,
        PartialCredentialsError,
        ProfileNotFound,
        SSOError,
        TokenRetrievalError,
    )

    from localcloud.errors import LocalCloudError

    if isinstance(error, LocalCloudError):
        return LocalCloudFailedError(str(error).rstrip("."))
    if isinstance(error, ClientError):
        code, text = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        kind = CredentialsError if code in _LOGIN_CODES else AwsError
        return kind(f"{error.operation_name}: {code}: {text}".rstrip(": ."))
    login = (
        NoCredentialsError,
        NoRegionError,
        PartialCredentialsError,
        CredentialRetrievalError,
        ProfileNotFound,
        SSOError,
        TokenRetrievalError,
    )
    if isinstance(error, login):
        return CredentialsError(str(error).rstrip("."))
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        return SystemRefusedError(f"{where}{error.strerror or error}")
    return AwsError(str(error).rstrip(".")) if isinstance(error, BotoCoreError) else None


def from_function(function: str, answer: dict[str, object]) -> CoffreError:
    """The error with which a function ended, from the answer that Lambda gave instead of its result.

    Parameters
    ----------
    function:
        The function's name, for errors that aren't ours (a timeout, memory).
    answer:
        ``errorType`` (the name of a class in `coffre.errors`) and ``errorMessage``, which has the form that
        `CoffreError` gives it: ``[code] message. advice``.
    """
    kind, text = str(answer.get("errorType", "")), str(answer.get("errorMessage", ""))
    cls = error_classes().get(kind)
    if cls is None:
        return FunctionFailedError(f"{function} ended with {kind or 'an error'}: {text}".rstrip(": ."))
    text = text.removeprefix(f"[{cls.code}] ")
    if cls.advice and text.endswith(f". {cls.advice}"):
        return cls(text.removesuffix(f". {cls.advice}"))
    message, _, advice = text.partition(". ")
    return cls(message.rstrip("."), advice)


def recorded(code: str | None, message: str | None, advice: str | None = None) -> CoffreError:
    """The error with which a run ended, from what the catalogue keeps of it.

    Parameters
    ----------
    advice:
        What to do, if it isn't the error's own.
    """
    found = next((cls for cls in error_classes().values() if cls.code == code), CoffreError)
    return found(message or "it ended without a word", advice)


def as_usage(error: InvalidEventError) -> UsageError:
    """What a function says of an event, in the words of the options that the command made it of."""
    message, parsed = _PARSED.subn("", error.message, count=1)
    if parsed:
        message = _FIELD.sub(lambda found: found[1] + _option(found[2]), message)
    advice = "`--help` shows what is possible; a stack of another version than this command may know less."
    return UsageError(message, advice)


def _option(field: str) -> str:
    return "" if field == "event" else f"--{field.replace('_', '-')}: "
