"""The keys of sealed backups: made and unwrapped by KMS, and kept, wrapped, in each manifest that needs them.

The bucket and KMS are enough to open a backup.  A new backup goes on with the newest one's key, so that rows
that it has already are found again; it takes a new one where the registration names another KMS key or asks
for one, or when the key has grown old.  Nothing is ever encrypted anew: a backup stays under the key that it
was taken with.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from coffre.errors import (
    CoffreError,
    FormatUnsupportedError,
    KeyServiceUnavailableError,
    ManifestInvalidError,
    ObjectMissingError,
    SealBrokenError,
    SealKeyUnavailableError,
    UnknownBackupError,
)
from coffre.ids import moment, new_seal, stamp
from coffre.vault.manifest import Manifest, SealContext, SealKey
from coffre.vault.reader import load_manifest
from coffre.vault.sealed_manifest import open_manifest
from coffre.vault.sealing import SECRET_BYTES, UNSEALED, Seal, Sealed
from coffre.vault.store import ObjectStore

LIFETIME = timedelta(days=365)
"""A backup that is taken later makes a new data key, and stores all rows anew."""

_FAULTS = {
    "DisabledException": ("is disabled", "Enable it in KMS: `aws kms enable-key`."),
    "KMSInvalidStateException": (
        "can't be used in its state: it may wait for its deletion",
        "If so, `aws kms cancel-key-deletion` and `enable-key`, at once: what it sealed is gone with it.",
    ),
    "AccessDeniedException": (
        "may not be used by this role",
        "Name it in the stack's parameter SealKeys, and allow the role in the key's policy or by a grant.",
    ),
    "NotFoundException": (
        "doesn't exist",
        "Check its ARN and account. A key that was deleted is lost with all that it sealed.",
    ),
}


class SealKeys:
    """Makes and unwraps data keys.

    Parameters
    ----------
    clients:
        A boto3 KMS client for a region.
    region:
        This one: a replica of a multi-Region key that is here is asked first.
    """

    def __init__(self, clients: Callable[[str], Any], region: str = "") -> None:
        self._clients = clients
        self._region = region

    def for_backup(
        self,
        store: ObjectStore,
        database: str,
        kms_key: str | None,
        now: datetime,
        since: datetime | None = None,
        before: SealKey | None = None,
    ) -> Seal:
        """The seal for a new backup: an earlier one's, or a new one.

        Parameters
        ----------
        kms_key:
            The ARN of the KMS key that the database is to be sealed with; None: it isn't.
        since:
            A data key that was made before isn't used again.
        before:
            The key of an earlier attempt at this backup; None: it goes on with the newest backup's.

        Raises
        ------
        SealKeyUnavailableError, SealBrokenError, KeyServiceUnavailableError, StoreUnavailableError
        """
        if kms_key is None:
            return UNSEALED
        earlier = before or _newest(store, database)
        if earlier is not None and _goes_on(earlier, store.bucket, database, kms_key):
            made = moment(earlier.context.created)
            if made > now - LIFETIME and (since is None or made >= since):
                with suppress(SealBrokenError):  # who alters a manifest must not stop backups
                    return self.unwrap(earlier)
        return self._new(kms_key, store.bucket, database, now)

    def of(self, manifest: Manifest, held: Seal = UNSEALED) -> Seal:
        """The seal of a backup.

        Parameters
        ----------
        held:
            Taken if it is the one.

        Raises
        ------
        SealKeyUnavailableError, SealBrokenError, KeyServiceUnavailableError
        """
        if manifest.seal is None:
            return UNSEALED
        if manifest.seal == held.key:
            return held
        if manifest.seal.context.database != manifest.database:
            raise SealBrokenError(f"the seal of {manifest.id} is another database's")
        return self.unwrap(manifest.seal)

    def load(
        self, store: ObjectStore, database: str, backup_id: str, held: Seal = UNSEALED
    ) -> tuple[Manifest, str, Seal]:
        """All of a backup's manifest, its root hash, and the seal that it is under.

        Raises
        ------
        SealKeyUnavailableError, SealBrokenError, KeyServiceUnavailableError
        UnknownBackupError, ManifestInvalidError, FormatUnsupportedError, StoreUnavailableError
            See `load_manifest`.
        """
        manifest, digest = load_manifest(store, database, backup_id)
        seal = self.of(manifest, held)
        return open_manifest(manifest, seal), digest, seal

    def unwrap(self, key: SealKey) -> Sealed:
        """Have KMS unwrap a data key.

        Raises
        ------
        SealKeyUnavailableError, SealBrokenError, KeyServiceUnavailableError
        """
        replica = _replica(key.kms_key, self._region)
        if replica is not None:
            with suppress(SealKeyUnavailableError, KeyServiceUnavailableError):  # the key itself says why
                return self._unwrap(key, replica)
        return self._unwrap(key, key.kms_key)

    def probe(self, key: SealKey) -> CoffreError | None:
        """Whether a data key can still be unwrapped: what stands against it, if anything.

        A key that waits for its deletion is named with the day.
        """
        try:
            self.unwrap(key)
        except SealKeyUnavailableError as error:
            return self._dated(error, key.kms_key)
        except (SealBrokenError, KeyServiceUnavailableError) as error:
            return error
        return None

    def _unwrap(self, key: SealKey, kms_key: str) -> Sealed:
        answer = self._call(
            "decrypt",
            kms_key,
            KeyId=kms_key,
            CiphertextBlob=base64.b64decode(key.wrapped),
            EncryptionContext=key.context.model_dump(by_alias=True),
        )
        return Sealed(key, _secret(answer, kms_key))

    def _new(self, kms_key: str, bucket: str, database: str, now: datetime) -> Sealed:
        context = SealContext(vault=bucket, database=database, seal=new_seal(), created=stamp(now))
        answer = self._call(
            "generate_data_key",
            kms_key,
            KeyId=kms_key,
            NumberOfBytes=SECRET_BYTES,
            EncryptionContext=context.model_dump(by_alias=True),
        )
        wrapped = base64.b64encode(answer["CiphertextBlob"]).decode()
        key = SealKey(kms_key=str(answer["KeyId"]), context=context, wrapped=wrapped)
        return Sealed(key, _secret(answer, kms_key))

    def _dated(self, error: SealKeyUnavailableError, kms_key: str) -> SealKeyUnavailableError:
        """With the day of the key's deletion, where it waits for one."""
        try:
            about = self._call("describe_key", kms_key, KeyId=kms_key)["KeyMetadata"]
        except (SealKeyUnavailableError, KeyServiceUnavailableError):
            return error
        if about.get("KeyState") != "PendingDeletion":
            return error
        day = f"{about['DeletionDate']:%Y-%m-%d}"
        return SealKeyUnavailableError(f"the KMS key {kms_key} will be deleted on {day}", error.hint)

    def _call(self, operation: str, kms_key: str, **parameters: Any) -> Mapping[str, Any]:
        region = kms_key.split(":")[3]
        try:
            answer: Mapping[str, Any] = getattr(self._clients(region), operation)(**parameters)
        except ClientError as error:
            raise _translated(error, kms_key) from error
        except BotoCoreError as error:
            raise KeyServiceUnavailableError(
                f"KMS gave no answer for the key {kms_key}: {type(error).__name__}"
            ) from error
        return answer


def _goes_on(key: SealKey, bucket: str, database: str, kms_key: str) -> bool:
    """Whether a data key was made for such a backup.  KMS refuses a context that was altered."""
    return (key.kms_key, key.context.vault, key.context.database) == (kms_key, bucket, database)


def _replica(kms_key: str, region: str) -> str | None:
    """The ARN that a multi-Region key has in another region; None if it is no such key, or of this region.

    Source: AWS KMS, "Multi-Region keys": the same id, which begins with ``mrk-``, and the same key material.
    """
    pieces = kms_key.split(":")
    if not pieces[5].startswith("key/mrk-") or pieces[3] == region:
        return None
    return ":".join([*pieces[:3], region, *pieces[4:]])


def _newest(store: ObjectStore, database: str) -> SealKey | None:
    """The key of the newest backup; None if it has none, or can't be read."""
    try:
        return load_manifest(store, database, "latest")[0].seal
    except (UnknownBackupError, ManifestInvalidError, FormatUnsupportedError, ObjectMissingError):
        return None


def _secret(answer: Mapping[str, Any], kms_key: str) -> bytes:
    secret = bytes(answer["Plaintext"])
    if len(secret) != SECRET_BYTES:
        raise SealBrokenError(f"a data key wrapped by {kms_key} has {len(secret)} bytes, not {SECRET_BYTES}")
    return secret


def _translated(error: ClientError, kms_key: str) -> CoffreError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in ("InvalidCiphertextException", "IncorrectKeyException"):
        return SealBrokenError(f"a wrapped data key isn't what {kms_key} wrapped, or not for this vault")
    if code in _FAULTS:
        what, advice = _FAULTS[code]
        return SealKeyUnavailableError(f"the KMS key {kms_key} {what}", advice)
    failed = KeyServiceUnavailableError(f"KMS answered {code} for the key {kms_key}")
    failed.answered = True
    return failed
