"""Where a database is and who connects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

MAINTENANCE = "postgres"
"""A database that every server has."""


@dataclass(frozen=True)
class Target:
    """Where a database is and who connects.

    ``host`` is a host name, an address, or the folder of a unix socket (it starts with ``/``).  ``ca`` is a
    bundle of certificates in PEM; without one the public authorities are trusted.
    """

    host: str
    port: int
    user: str
    database: str
    password: str | None = field(default=None, repr=False)
    sslmode: str = "verify-full"
    ca: str | None = field(default=None, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether this is a unix socket."""
        return self.host.startswith("/")

    @property
    def maintenance(self) -> Target:
        """The server's maintenance database: none can be made, renamed or dropped by its own sessions."""
        return replace(self, database=MAINTENANCE)

    @property
    def label(self) -> str:
        """How messages name it: no password, no user."""
        where = self.host if self.is_local else f"{self.host}:{self.port}"
        return f"database {self.database!r} at {where}"


@dataclass(frozen=True)
class Source:
    """Where a backup reads.

    Attributes
    ----------
    primary:
        Whom ``target`` must follow if it is a named replica; None: it is the registered database.
    """

    target: Target
    primary: Target | None = None
