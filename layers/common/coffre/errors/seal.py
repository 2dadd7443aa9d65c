"""Sealed backups and the keys that they need."""

from __future__ import annotations

from coffre.errors.base import CoffreError


class SealKeyUnavailableError(CoffreError):
    """The KMS key of sealed backups can't be used: disabled, about to be deleted, gone, not allowed."""

    code = "seal-key-unavailable"
    advice = "What is sealed can't be read without the key; it is lost once the key is."


class SealBrokenError(CoffreError):
    """What a manifest says of its seal, or holds under it, was altered."""

    code = "seal-broken"
    advice = "Look at the versions of the manifest, or use another backup."


class KeyServiceUnavailableError(CoffreError):
    """KMS failed or didn't answer, after bounded retries.

    Attributes
    ----------
    answered:
        Whether it said so itself.
    """

    answered = False

    code = "key-service-unavailable"
    advice = "Try again; check KMS, and the function's way to it (an interface endpoint in a VPC)."
