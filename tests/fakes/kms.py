"""KMS in memory: data keys, keys that are disabled or wait for their deletion, and contexts that must fit.

A data key is wrapped by AES-256-GCM under the SHA-256 of the KMS key's ARN, with the encryption context as
JSON with sorted keys for additional data, behind a nonce of 12 bytes.  So what was sealed with one of these
keys opens with any other `MemoryKms`: golden archives need that.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
OTHER_KEY = "arn:aws:kms:us-east-1:123456789012:key/99999999-8888-7777-6666-555555555555"
DELETION = datetime(2026, 12, 24, tzinfo=UTC)
_NONCE = 12


class MemoryKms:
    """The twin of a KMS client.

    Attributes
    ----------
    refusals:
        What it answers for a key instead of working, by ARN: an error code of KMS.
    replicas:
        The ARN of the key that a replica of a multi-Region key has its material of, by the replica's ARN.
    calls:
        (operation, ARN) of every call.
    """

    def __init__(self) -> None:
        self.refusals: dict[str, str] = {}
        self.replicas: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []

    def generate_data_key(self, **given: Any) -> dict[str, Any]:
        """A new data key, plain and wrapped."""
        self._answer("GenerateDataKey", given["KeyId"])
        plain, nonce = os.urandom(given["NumberOfBytes"]), os.urandom(_NONCE)
        wrapped = self._cipher(given["KeyId"]).encrypt(nonce, plain, _bound(given["EncryptionContext"]))
        return {"KeyId": given["KeyId"], "Plaintext": plain, "CiphertextBlob": nonce + wrapped}

    def decrypt(self, **given: Any) -> dict[str, Any]:
        """The data key, if this key wrapped it for this context."""
        self._answer("Decrypt", given["KeyId"])
        nonce, wrapped = given["CiphertextBlob"][:_NONCE], given["CiphertextBlob"][_NONCE:]
        try:
            plain = self._cipher(given["KeyId"]).decrypt(nonce, wrapped, _bound(given["EncryptionContext"]))
        except (InvalidTag, ValueError) as error:
            raise _error("Decrypt", "InvalidCiphertextException") from error
        return {"KeyId": given["KeyId"], "Plaintext": plain}

    def describe_key(self, **given: Any) -> dict[str, Any]:
        """The key's state."""
        key = given["KeyId"]
        self.calls.append(("DescribeKey", key))
        state = "PendingDeletion" if self.refusals.get(key) == "KMSInvalidStateException" else "Enabled"
        return {"KeyMetadata": {"KeyState": state, "DeletionDate": DELETION}}

    def _cipher(self, key: str) -> AESGCM:
        return AESGCM(hashlib.sha256(self.replicas.get(key, key).encode()).digest())

    def _answer(self, operation: str, key: str) -> None:
        self.calls.append((operation, key))
        if key in self.refusals:
            raise _error(operation, self.refusals[key])


def _bound(context: Mapping[str, str]) -> bytes:
    return json.dumps(dict(context), sort_keys=True).encode()


def _error(operation: str, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)
