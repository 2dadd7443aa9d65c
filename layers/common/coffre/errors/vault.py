"""The vault: its objects, its manifests and its bucket."""

from __future__ import annotations

from coffre.errors.base import BadInputError, CoffreError


class StoreUnavailableError(CoffreError):
    """The object store failed or refused, after bounded retries."""

    code = "store-unavailable"
    advice = "Check the bucket, the role and the region; nothing was committed."


class ObjectMissingError(CoffreError):
    """An object that a manifest names isn't in the bucket."""

    code = "object-missing"
    advice = "Somebody or something deleted it; the backup that names it can't be restored whole."


class ObjectCorruptError(CoffreError):
    """An object's content isn't what its manifest says."""

    code = "object-corrupt"
    advice = "Use another backup. A rotation puts a damaged chunk aside; the next backup stores it again."


class ChunkDamagedError(CoffreError):
    """Rows that are in the vault already, as it seems, can't be used again: their chunk is damaged."""

    code = "chunk-damaged"
    advice = "The next rotation puts the chunk aside, and the backup after it stores the rows afresh."


class ObjectExistsError(CoffreError):
    """A key that may be written once exists already."""

    code = "object-exists"


class ManifestInvalidError(CoffreError):
    """A manifest that was cut, edited or isn't one."""

    code = "manifest-invalid"
    advice = "This backup isn't usable; choose another one."


class FormatUnsupportedError(CoffreError):
    """A manifest of a format version, or with a requirement, that this reader doesn't know."""

    code = "format-unsupported"
    advice = "Update Coffre to read this backup."


class VaultUnsafeError(CoffreError):
    """The bucket's settings could lose backups (no versioning, a lifecycle rule that expires chunks)."""

    code = "vault-unsafe"
    advice = "Correct the bucket's settings; the template sets them right."


class NoCopyError(BadInputError):
    """The stack has no second vault that its own is replicated into."""

    code = "no-copy"
    advice = "Name one in the template's parameter CopyBucketArn."


class CopyIncompleteError(CoffreError):
    """The copy of a backup lacks something that a restore needs."""

    code = "copy-incomplete"
    advice = "Nothing was changed. Take an older backup whose copy is complete, or wait for the replication."


class NoObjectLockError(BadInputError):
    """What was asked needs a bucket with Object Lock."""

    code = "no-object-lock"
    advice = "Leave out `--legal`; Object Lock is a parameter of the stack's first deployment."


class HeldMeanwhileError(CoffreError):
    """A backup that a rotation was about to delete has been held in the meantime."""

    code = "held-meanwhile"
    advice = "Nothing was deleted; the next rotation decides again."


class DeleteRefusedError(CoffreError):
    """The store doesn't let this version be deleted now: Object Lock, a legal hold, or the role."""

    code = "delete-refused"
    advice = "Under Object Lock it is deleted by a rotation after the lock's date; otherwise check the role."


class BackupIncompleteError(CoffreError):
    """What was captured isn't everything that the plan asked for."""

    code = "backup-incomplete"
    advice = "The backup was discarded; run it again."


class RotationIncompleteError(CoffreError):
    """Some databases could not be rotated; each is named with its error."""

    code = "rotation-incomplete"
    advice = "The other databases were rotated; nothing was deleted of the named ones that a backup needs."
