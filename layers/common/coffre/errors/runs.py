"""Runs and what they rest on: leases, the catalogue, other functions, events."""

from __future__ import annotations

from coffre.errors.base import CoffreError


class LeaseHeldError(CoffreError):
    """Another run works on the same database."""

    code = "lease-held"
    advice = "Wait for it to end; a lease is free again at its deadline at the latest."


class BackupOverError(CoffreError):
    """The backup that a piece of work belongs to has ended already."""

    code = "backup-over"
    advice = "Nothing is left to do; `coffre list NAME` says how it ended."


class BackupStalledError(CoffreError):
    """A backup got no further for longer than the registration allows."""

    code = "backup-stalled"
    advice = "Look at the source's sessions and at the log of `capture`; then run it again."


class BackupStoppedError(CoffreError):
    """The state machine of a backup was stopped by hand, or came to the end of its time."""

    code = "backup-stopped"
    advice = "Nothing of it is left that looks like a backup; run it again."


class RunOfAnotherVersionError(CoffreError):
    """A run on the state machine was begun by a version of Coffre whose notes this one doesn't read."""

    code = "run-of-another-version"
    advice = "Begin it again; nothing of it is left that looks finished."


class CatalogueUnavailableError(CoffreError):
    """The catalogue table failed or refused."""

    code = "catalogue-unavailable"
    advice = "Check the DynamoDB table and the role; `coffre catalogue rebuild` makes a new index."


class MetricsUnavailableError(CoffreError):
    """CloudWatch failed or refused to tell of metrics."""

    code = "metrics-unavailable"
    advice = "Ask for the report again; if it stays, check the role of the report function."


class ReportsIncompleteError(CoffreError):
    """Some databases have no report of this month yet."""

    code = "reports-incomplete"
    advice = "What was written stays; `coffre report NAME --month` writes a missing one."


class FunctionFailedError(CoffreError):
    """A function that was called ended with an error of its own."""

    code = "function-failed"
    advice = "Its log group tells more."


class FunctionUnavailableError(CoffreError):
    """AWS Lambda didn't run a function, or ended it before it could say why."""

    code = "function-unavailable"
    advice = "Compare the account's limit of concurrent executions with what runs; look at the log groups."


class EventNotPublishedError(CoffreError):
    """EventBridge refused an event, so nobody was told."""

    code = "event-not-published"
    advice = "What the event reports was done all the same; check the bus and the role."
