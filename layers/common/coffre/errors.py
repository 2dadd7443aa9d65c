"""Every error that Coffre raises on purpose: one class a cause, one stable code a class.

A message says what happened and to which database or object; the advice says what to do next.  The code
never changes once it is released: alerts, scripts and the documentation refer to it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class CoffreError(Exception):
    """Base of all errors of the product.

    Parameters
    ----------
    message:
        What happened, and to which database or object.  Never holds a secret.
    advice:
        What the reader can do next, as a sentence.  Defaults to the class's own advice.
    """

    code: ClassVar[str] = "internal"
    advice: ClassVar[str] = ""
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, advice: str | None = None) -> None:
        self.message = message
        self.hint = self.advice if advice is None else advice
        super().__init__(f"[{self.code}] {message}. {self.hint}".rstrip(" "))


class BadInputError(CoffreError):
    """Base of the errors that mean: what was asked can't be done as it was asked; nothing was changed."""

    code = "bad-input"
    exit_code = 2


# Input


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
    advice = "Register the database again with `coffre databases add`."


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


# Connection and source


class SourceUnreachableError(CoffreError):
    """The server can't be reached: unknown host, refused, timed out."""

    code = "source-unreachable"
    advice = "Check host, port, security groups and that the server runs."


class AuthenticationError(CoffreError):
    """The server refused the credentials."""

    code = "authentication-refused"
    advice = "Check user and password in the database's secret."


class TlsError(CoffreError):
    """TLS was refused, or the server's certificate doesn't verify."""

    code = "tls-refused"
    advice = "Give the CA bundle with `--ca FILE`, or lower sslmode in the URL knowingly."


class DatabaseMissingError(CoffreError):
    """The server has no database of that name."""

    code = "database-missing"
    advice = "Check the database's name in the URL."


class PoolerRefusedError(CoffreError):
    """A connection pooler stands between us and the server; snapshots and locks don't pass through one."""

    code = "pooler-refused"
    advice = "Use the server's direct host and port instead of the pooler's."


class ServerTooOldError(CoffreError):
    """The server's major version is older than the oldest supported one."""

    code = "server-too-old"
    advice = "PostgreSQL 14 to 18 are supported."


class ServerTooNewError(CoffreError):
    """The server's major version is newer than the bundled tools."""

    code = "server-too-new"
    advice = "PostgreSQL 14 to 18 are supported; update Coffre."


class ConnectionLostError(CoffreError):
    """The server ended the session or the network broke in the middle of the work."""

    code = "connection-lost"
    advice = "The run wrote no manifest; the next run starts from a new snapshot."


class QueryFailedError(CoffreError):
    """The server refused a statement for a reason that has no class of its own."""

    code = "query-failed"
    advice = "The server's message and SQLSTATE tell why."

    def __init__(self, message: str, advice: str | None = None, *, sqlstate: str = "") -> None:
        super().__init__(message, advice)
        self.sqlstate = sqlstate


class PrivilegesMissingError(CoffreError):
    """The backup role can't read everything; each object is named."""

    code = "privileges-missing"
    advice = "Grant SELECT on them; pg_read_all_data covers tables, sequences and schemas, not large objects."


class RowSecurityError(CoffreError):
    """Row-level security would hide rows from the backup role; each table is named."""

    code = "row-security-active"
    advice = "ALTER ROLE ... BYPASSRLS for the backup role, or use the tables' owner."


class UnsupportedExtensionError(CoffreError):
    """The database uses an extension whose data follows rules that pg_dump doesn't know."""

    code = "extension-unsupported"
    advice = "Use the extension's own backup tool for this database."


class StandbyRefusedError(CoffreError):
    """A hot standby without feedback may lose rows under an imported snapshot."""

    code = "standby-refused"
    advice = "Set hot_standby_feedback = on there, or use the primary."


class LockNotGrantedError(CoffreError):
    """The tables could not be locked in time."""

    code = "lock-not-granted"
    advice = "Somebody holds a strong lock (a migration?); the run is retried later."


class ServerMemoryError(CoffreError):
    """The server is out of memory, or of room for locks: a backup locks every table at once."""

    code = "server-memory"
    advice = "With many tables raise max_locks_per_transaction: times max_connections it must exceed them."


class WaitersPresentError(CoffreError):
    """Sessions queued behind the backup's locks for longer than the database's policy allows."""

    code = "waiters-present"
    advice = "The backup let go so that the application could go on; the run is retried later."


class CatalogChangedError(CoffreError):
    """Tables were created, dropped or rewritten between listing and snapshot."""

    code = "catalog-changed"
    advice = "Somebody ran DDL at that moment; run the backup again."


class RowCountMismatchError(CoffreError):
    """The rows that arrived aren't the rows that the server counted."""

    code = "row-count-mismatch"
    advice = "The backup was discarded; please report this."


class ProtocolViolationError(CoffreError):
    """The server sent bytes that PostgreSQL's protocol doesn't allow here."""

    code = "protocol-violation"
    advice = "Something between Coffre and the server changes the stream; connect directly."


class ValueTooLargeError(CoffreError):
    """A field's text form exceeds PostgreSQL's 1 GB limit, so the server can't send it."""

    code = "value-too-large"
    advice = "Values of more than about 500 MB can't be read as text (pg_dump fails on them, too)."


# Tools and machine


class ToolFailedError(CoffreError):
    """One of PostgreSQL's own programs ended with an error."""

    code = "tool-failed"
    advice = "The program's last lines tell why."


class ToolMissingError(CoffreError):
    """One of PostgreSQL's own programs isn't where the layer should have put it."""

    code = "tool-missing"
    advice = "Deploy the PostgreSQL layer, or run `make install` on a laptop."


class ServerStartError(CoffreError):
    """The ephemeral PostgreSQL did not start."""

    code = "server-start-failed"
    advice = "Its last log lines tell why; most often /tmp is full."


class WorkerFailedError(CoffreError):
    """A worker process died without an answer."""

    code = "worker-failed"
    advice = "Most often the function's memory was exhausted; raise it."


class DeadlineExceededError(CoffreError):
    """The run came too close to the end of its time."""

    code = "deadline-exceeded"
    advice = "Give the function more memory: it gets more CPU with it."


class DiskFullError(CoffreError):
    """The scratch space is full."""

    code = "disk-full"
    advice = "Raise the function's ephemeral storage."


# Vault


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


class NoObjectLockError(BadInputError):
    """What was asked needs a bucket with Object Lock."""

    code = "no-object-lock"
    advice = "Leave out `--legal`; Object Lock is a parameter of the stack's first deployment."


class HeldMeanwhileError(CoffreError):
    """A backup that a rotation was about to delete has been held in the meantime."""

    code = "held-meanwhile"
    advice = "Nothing was deleted; the next rotation decides again."


class BackupIncompleteError(CoffreError):
    """What was captured isn't everything that the plan asked for."""

    code = "backup-incomplete"
    advice = "The backup was discarded; run it again."


# Runs


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


# Restore


class TargetNotEmptyError(BadInputError):
    """The target database holds objects already; a restore never overwrites."""

    code = "target-not-empty"
    advice = "Name a database that doesn't exist yet, or an empty one."


class TargetTooOldError(BadInputError):
    """The target server's major version is older than the source's."""

    code = "target-too-old"
    advice = "Restore into the same or a newer major version."


class TargetLacksError(BadInputError):
    """The target role or server lacks something that the restore needs; each is named."""

    code = "target-lacks"
    advice = "Grant what is named, use another role, or restore with `--roles mine`."


class PlanChangedError(BadInputError):
    """The confirmed plan isn't the plan that would run now."""

    code = "plan-changed"
    advice = "Ask for a plan again, read it, and confirm that one."


class PlanUnknownError(BadInputError):
    """No plan of this database has this token."""

    code = "plan-unknown"
    advice = "Ask for a plan; its answer holds the token."


class PlanExpiredError(BadInputError):
    """A plan was confirmed later than 15 minutes after it was made."""

    code = "plan-expired"
    advice = "Ask for a plan again, read it, and confirm that one."


class PlanUsedError(BadInputError):
    """A plan was confirmed a second time."""

    code = "plan-used"
    advice = "`coffre restore list NAME` shows what became of it; ask for a plan again to run another one."


class SafetyBackupImpossibleError(BadInputError):
    """The database that a restore would replace isn't registered, so it can't be backed up first."""

    code = "safety-backup-impossible"
    advice = 'Register it with `coffre databases add`, or do without: `--no-safety` (`"safety": "skip"`).'


class UndoImpossibleError(BadInputError):
    """No database on the server is the one that a restore replaced last under this name."""

    code = "undo-impossible"
    advice = "Look at the databases' names and comments; the restore runbook shows how to rename by hand."


class SessionsRemainError(CoffreError):
    """Sessions with a database that is to be renamed didn't end in time; nothing was renamed."""

    code = "sessions-remain"
    advice = "End them as their own role or as a superuser, stop what opens them, and try again."


class RestoreMismatchError(CoffreError):
    """What was restored isn't equal to what was backed up; each difference is named."""

    code = "restore-mismatch"
    advice = "The target was left aside for inspection and not put under its final name."


class RestoreExceptionsError(CoffreError):
    """The rows violate constraints, or other objects can't be restored; each is named."""

    code = "restore-exceptions"
    advice = "All rows are in the backup: `--with-exceptions` restores them and leaves out what is named."


class EventNotPublishedError(CoffreError):
    """EventBridge refused an event, so nobody was told."""

    code = "event-not-published"
    advice = "What the event reports was done all the same; check the bus and the role."


class DeleteRefusedError(CoffreError):
    """The store doesn't let this version be deleted now: Object Lock, a legal hold, or the role."""

    code = "delete-refused"
    advice = "Under Object Lock it is deleted by a rotation after the lock's date; otherwise check the role."


class RotationIncompleteError(CoffreError):
    """Some databases could not be rotated; each is named with its error."""

    code = "rotation-incomplete"
    advice = "The other databases were rotated; nothing was deleted of the named ones that a backup needs."


def error_classes() -> dict[str, type[CoffreError]]:
    """All error classes by name, as they appear in a failed function's ``errorType``."""
    found: dict[str, type[CoffreError]] = {}
    pending: list[type[CoffreError]] = [CoffreError]
    while pending:
        cls = pending.pop()
        found[cls.__name__] = cls
        pending.extend(cls.__subclasses__())
    return found


@contextmanager
def disk_full_named() -> Iterator[None]:
    """Turn the system's "no space left on device" into a `DiskFullError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError("no space is left in the scratch space") from error


def describe(error: BaseException) -> dict[str, str]:
    """An error as plain values, for another process or the catalogue; see `revive`."""
    if isinstance(error, CoffreError):
        return {
            "type": type(error).__name__,
            "code": error.code,
            "message": error.message,
            "advice": error.hint,
        }
    return {
        "type": "CoffreError",
        "code": CoffreError.code,
        "message": f"unexpected {type(error).__name__}: {error}",
        "advice": "This is a defect of Coffre; the log holds the traceback.",
    }


def revive(description: dict[str, str]) -> CoffreError:
    """The error that `describe` described."""
    cls = error_classes().get(description["type"], CoffreError)
    return cls(description["message"], description["advice"])
