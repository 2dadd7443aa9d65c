"""Sessions with a PostgreSQL server: where to connect, how, and under which settings.

Every session pins the settings that shape text or visibility, whatever the role or the database sets
(pg_dump does the same: ``setup_connection`` in pg_dump.c).  Errors of the driver are translated here, once.
"""

from __future__ import annotations

import socket
import ssl
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import pg8000.native
from pg8000.exceptions import DatabaseError, InterfaceError

from coffre.databases.postgresql.encodings import codec_of
from coffre.databases.postgresql.faults import connecting_failed, statement_failed
from coffre.databases.postgresql.target import Target
from coffre.errors import (
    CoffreError,
    ConnectionLostError,
    PoolerRefusedError,
    SourceUnreachableError,
    TlsError,
)

PINNED: Mapping[str, str] = {
    "search_path": "",
    "quote_all_identifiers": "off",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "lc_monetary": "C",
    "row_security": "off",
    "synchronize_seqscans": "off",
    "xmloption": "content",
    "array_nulls": "on",
}
"""Settings under which rows are written as text, and read back."""

GUARDS: Mapping[str, str] = {
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "idle_session_timeout": "0",
    "client_connection_check_interval": "10s",
    "tcp_keepalives_idle": "60",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
    "restrict_nonsystem_relation_kind": "view, foreign-table",
}
"""Settings that keep a session alive and harmless.  Where a server doesn't know one, it has no such limit."""

CONNECT_SECONDS = 10.0

SILENCE_SECONDS = 15.0
"""Beyond a statement's own limit, which the server enforces: after that no answer comes any more, although
the network says that somebody is there (a proxy, a server that was stopped)."""


class _Connection(pg8000.native.Connection):  # type: ignore[misc]  # pg8000 has no types
    """The driver's connection, with codecs of ours (`coffre.databases.postgresql.encodings`).

    Its own are wrong for nine encodings of PostgreSQL's, and refuse bytes that aren't of the session's.
    """

    def handle_PARAMETER_STATUS(self, data: bytes, context: object) -> None:  # noqa: N802 - the driver's name
        """Follow the session's encoding; of all that servers tell of themselves nothing else is asked for."""
        del context
        name, value, *_ = data.split(b"\x00")
        if name == b"client_encoding":
            self._client_encoding = codec_of(value.decode("ascii"))


class Session:
    """One session with a server.

    Use `open_session`, and as a context manager: the session ends with the block.
    """

    def __init__(self, connection: _Connection, target: Target) -> None:
        self._connection = connection
        self.target = target
        self.version = int(self.value("SHOW server_version_num"))
        self.encoding = str(self.value("SHOW server_encoding"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def major(self) -> int:
        """The server's major version, for example 16."""
        return self.version // 10_000

    @property
    def socket(self) -> Any:
        """The socket below the driver; the COPY pump reads from it."""
        return self._connection._usock

    @property
    def python_encoding(self) -> str:
        """Python's name of the codec for the session's text."""
        return str(self._connection._client_encoding)

    def buffered(self) -> bytes:
        """The next bytes that the driver has or can read in one go; waits for at least one.

        Raises
        ------
        ConnectionLostError
            If the server closed the session.
        """
        data = bytes(self._connection._sock.read1(1 << 16))
        if not data:
            raise ConnectionLostError(f"the server closed the session with {self.target.label}")
        return data

    def run(self, statement: str, **parameters: Any) -> list[list[Any]]:
        """Run one statement and return its rows.

        Parameters
        ----------
        statement:
            SQL with ``:name`` for each parameter.

        Raises
        ------
        CoffreError
            The class that fits the server's SQLSTATE (see `coffre.databases.postgresql.faults`).
        """
        try:
            if parameters:
                for value in parameters.values():
                    str(value).encode(self.python_encoding)  # the driver would fail in mid-exchange
                return self._connection.run(statement, **parameters) or []
            return self._connection.execute_simple(statement).rows or []
        except (DatabaseError, InterfaceError, OSError, ssl.SSLError, AttributeError) as error:
            raise statement_failed(error, self.target.label) from error

    def roll_back(self) -> None:
        """Undo the open transaction; a session that is broken has lost its own already."""
        with suppress(CoffreError):
            self.run("ROLLBACK")

    def run_one(self, statement: str) -> list[list[str | None]]:
        """Run exactly one statement, and return its rows as text: the server refuses a second one.

        Raises
        ------
        CoffreError
            As `run` does.
        """
        connection = self._connection
        connection.pg_types = defaultdict(lambda: str)
        try:
            return connection.execute_unnamed(statement).rows or []
        except (DatabaseError, InterfaceError, OSError, ssl.SSLError, AttributeError) as error:
            raise statement_failed(error, self.target.label) from error

    def value(self, statement: str, **parameters: Any) -> Any:
        """The first column of the first row; None if there is no row."""
        rows = self.run(statement, **parameters)
        return rows[0][0] if rows else None

    def close(self) -> None:
        """End the session; an already broken one is simply dropped."""
        _close(self._connection)


def open_session(
    target: Target, *, seconds: float, application: str = "coffre", settings: Mapping[str, str] | None = None
) -> Session:
    """Connect, refuse poolers, pin the settings.

    Parameters
    ----------
    seconds:
        How long any statement of this session may take at most; the server ends it, and `SILENCE_SECONDS`
        later this side does.
    application:
        The name that the server's administrator sees in ``pg_stat_activity``.
    settings:
        With which it begins, instead of those of the role and the database.

    Raises
    ------
    SourceUnreachableError, AuthenticationError, TlsError, DatabaseMissingError, PoolerRefusedError
    """
    refuse_pooler_host(target)
    try:
        connection = _connect(target, application, settings)
    except (DatabaseError, InterfaceError, OSError) as error:
        raise connecting_failed(error, target.label) from error
    connection._usock.settimeout(max(1.0, seconds) + SILENCE_SECONDS)
    try:
        session = Session(connection, target)
        _refuse_pooler(session, connection)
        _pin(session, seconds)
    except BaseException:
        _close(connection)  # whatever broke the session may break its farewell, too, and is what must be told
        raise
    return session


def refuse_pooler_host(target: Target) -> None:
    """Refuse the host names that providers give to their poolers.

    Raises
    ------
    PoolerRefusedError
    """
    first, _, rest = target.host.partition(".")
    if first.endswith("-pooler") and rest.endswith("neon.tech"):
        direct = f"{first.removesuffix('-pooler')}.{rest}"
        raise PoolerRefusedError(f"{target.label} is Neon's pooler", f"Use the direct host {direct}.")
    if rest.endswith("pooler.supabase.com"):
        raise PoolerRefusedError(
            f"{target.label} is Supabase's pooler", "Use the direct host db.<project>.supabase.co."
        )


def _connect(target: Target, application: str, settings: Mapping[str, str] | None) -> _Connection:
    place: dict[str, Any] = (
        # Without a word about TLS the driver reads all the machine's certificates and asks for it, in vain.
        {"unix_sock": f"{target.host}/.s.PGSQL.{target.port}", "ssl_context": False}
        if target.is_local
        else {"host": target.host, "port": target.port, "ssl_context": _tls(target)}
    )
    connection = _Connection(
        target.user.encode("utf-8", "surrogateescape"),
        database=target.database.encode("utf-8", "surrogateescape"),
        password=target.password or "",  # without any, the driver breaks where a server asks for one
        timeout=CONNECT_SECONDS,
        tcp_keepalive=True,
        application_name=application,
        startup_params=dict(settings or {}),
        **place,
    )
    if not target.is_local:
        _notice_dead_networks(connection._usock)
    return connection


def _close(connection: _Connection) -> None:
    try:
        connection.close()
    except (InterfaceError, OSError):
        return


def _notice_dead_networks(sock: socket.socket) -> None:
    """Give up on a silent network after about a minute; the system's default is two hours."""
    for option, value in ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _tls(target: Target) -> ssl.SSLContext | bool:
    """The TLS context for the target's sslmode, whose meanings are libpq's.

    Source: https://www.postgresql.org/docs/current/libpq-ssl.html
    """
    if target.sslmode == "disable":
        return False
    context = ssl.create_default_context()
    if target.sslmode == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if target.ca is None:
        import certifi  # only TCP with verification needs it

        context.load_verify_locations(certifi.where())
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=target.ca)
        except ssl.SSLError as error:
            raise TlsError(f"the CA bundle for {target.label} is not PEM") from error
    context.check_hostname = target.sslmode == "verify-full"
    return context


def _refuse_pooler(session: Session, connection: _Connection) -> None:
    """A pooler hands out a process id of its own; a server hands out its backend's.

    Source: https://www.postgresql.org/docs/current/protocol-message-formats.html (BackendKeyData)
    """
    key = connection._backend_key_data
    if key is None:
        raise SourceUnreachableError(f"{session.target.label} sent no backend key", "Is it PostgreSQL?")
    announced = int.from_bytes(bytes(key)[:4], "big")
    actual = session.value("SELECT pg_catalog.pg_backend_pid()")
    if announced != actual:
        raise PoolerRefusedError(f"a connection pooler answers for {session.target.label}")


def _pin(session: Session, seconds: float) -> None:
    whole = max(1, int(seconds))
    limit = f"{whole}s"
    guards = {
        **GUARDS,
        "statement_timeout": limit,
        "transaction_timeout": f"{whole + 5}s",  # it ends the session: the statement's limit comes first
        "idle_in_transaction_session_timeout": limit,
        "lock_timeout": "10s",
    }
    names = ", ".join(map(literal, guards))
    known = {
        row[0] for row in session.run(f"SELECT name FROM pg_catalog.pg_settings WHERE name IN ({names})")
    }
    wanted = {name: value for name, value in guards.items() if name in known} | dict(PINNED)
    wanted["client_encoding"] = session.encoding
    calls = ", ".join(f"pg_catalog.set_config({literal(n)}, {literal(v)}, false)" for n, v in wanted.items())
    session.run(f"SELECT {calls}")


def identifier(name: str) -> str:
    """``name`` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """A relation's name, schema included, quoted."""
    return f"{identifier(schema)}.{identifier(name)}"


def literal(text: str) -> str:
    """``text`` as an SQL string literal; ``standard_conforming_strings`` doesn't matter to it."""
    if "\\" in text:
        return " E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    return "'" + text.replace("'", "''") + "'"
