"""Runs and what they rest on: leases, the catalogue, other functions, events."""

from __future__ import annotations

from coffre.errors.base import CoffreError


class LeaseHeldError(CoffreError):
    """Another run works on the same database."""

    code = "lease-held"
    advice = "Wait for it to end; a lease is free again at its deadline at the latest."


class CatalogueUnavailableError(CoffreError):
    """The catalogue table failed or refused."""

    code = "catalogue-unavailable"
    advice = "Check the DynamoDB table and the role; `coffre catalogue rebuild` makes a new index."


class FunctionFailedError(CoffreError):
    """A function that was called ended with an error of its own."""

    code = "function-failed"
    advice = "Its log group tells more."


class EventNotPublishedError(CoffreError):
    """EventBridge refused an event, so nobody was told."""

    code = "event-not-published"
    advice = "What the event reports was done all the same; check the bus and the role."
