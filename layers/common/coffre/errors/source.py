"""The server that is backed up: connecting to it, and reading it whole."""

from __future__ import annotations

from coffre.errors.base import CoffreError


class SourceUnreachableError(CoffreError):
    """The server can't be reached: unknown host, refused, timed out."""

    code = "source-unreachable"
    advice = "Check host, port, security groups and that the server runs."


class AuthenticationError(CoffreError):
    """The server refused the credentials."""

    code = "authentication-refused"
    advice = "Check user and password in the URL, or in the database's secret."


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
    advice = "Nothing that was under way counts; start it again once the server answers."


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


class DamageHiddenError(CoffreError):
    """The server passes over damaged pages, so rows would be missing or wrong without an error."""

    code = "damage-hidden"
    advice = "Set these off for the role: ALTER ROLE ... SET zero_damaged_pages = off."


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


class ReplicaForeignError(CoffreError):
    """The server that is registered as a replica isn't one of the registered database."""

    code = "replica-foreign"
    advice = "Register the URL of a standby of the same server, or none; after a failover, name the new one."


class ReplicaBehindError(CoffreError):
    """The named replica doesn't get what its primary has: a backup of it would be older than it says."""

    code = "replica-behind"
    advice = "Look at the replica's receiver (pg_stat_wal_receiver), or back up from the primary meanwhile."


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


class TableChangedError(CoffreError):
    """A table was rewritten, emptied or dropped while a backup's snapshot changed hands."""

    code = "table-changed"
    advice = "Rows of it would be missing, so the backup was discarded; run it again."


class NamesChangedError(CoffreError):
    """A schema was renamed, or a type's labels or attributes changed, while a backup read rows."""

    code = "names-changed"
    advice = "Rows would stand under other names, so the backup was discarded; run it again."


class SnapshotLostError(ConnectionLostError):
    """The snapshot of a backup is gone: whoever held it has ended."""

    code = "snapshot-lost"
    advice = "The run wrote no manifest; the next one starts from a new snapshot and finds its rows again."


class SnapshotTooOldError(CoffreError):
    """A backup's snapshot is older than the registration allows."""

    code = "snapshot-too-old"
    advice = "Give the backup more workers (`concurrency`), or a higher limit (`limits.snapshot_minutes`)."


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
