"""What is asked of `restore`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from coffre.choice import Runs
from coffre.events.base import BackupRef, DatabaseName, Event


def _new_schema(value: str) -> str:
    reserved = value.startswith("pg_") or value == "information_schema"
    if reserved or not 1 <= len(value.encode()) <= 63 or "\0" in value:
        raise ValueError("a schema's name has 1 to 63 bytes and isn't PostgreSQL's own")
    return value


class RestoreRequest(Event):
    """Plan a restore or the undoing of one, or run the plan that was confirmed.

    Attributes
    ----------
    mode:
        ``new``: into a database that doesn't exist or is empty; ``swap``: in the place of one that exists and
        stays under a dated name; ``undo``: put back the database that a swap replaced last; ``tables``: some
        tables into a new schema of an existing database.
    target_secret:
        Whose URL names the target; without one it is the registered database itself (not with ``new``).
    roles:
        ``keep``: objects go to the owners they had; ``mine``: everything belongs to the target's role.
    role_map:
        With ``keep``: roles of the source and the existing roles of the target that take their place.
    safety:
        Whether the database that a ``swap`` replaces is backed up first.
    exceptions:
        Whether to go on without what can't be restored, such as constraints that rows violate.
    tables, into:
        With ``tables``: which, as ``schema.name``, and the schema that is made for them; by default its name
        tells the backup's time, for example ``restored_20261120t023000z``.
    source:
        ``copy``: read the second vault, that the first one is replicated into.
    runs:
        In one function, on the state machine, or (``auto``) where it fits.
    """

    action: Literal["plan", "run"]
    database: DatabaseName
    mode: Literal["new", "swap", "undo", "tables"] = "new"
    backup: BackupRef = "latest"
    target_secret: str | None = Field(default=None, min_length=1)
    roles: Literal["keep", "mine"] = "keep"
    role_map: dict[str, str] = Field(default_factory=dict)
    safety: Literal["take", "skip"] = "take"
    exceptions: Literal["refuse", "accept"] = "refuse"
    tables: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)
    into: Annotated[str, AfterValidator(_new_schema)] | None = None
    source: Literal["vault", "copy"] = "vault"
    runs: Runs = "auto"
    token: str | None = None

    @model_validator(mode="after")
    def _confirmed(self) -> Self:
        if self.action == "run" and not self.token:
            raise ValueError("a run needs the token of the plan that it confirms")
        if self.action == "plan" and self.token:
            raise ValueError("a plan takes no token")
        return self

    @model_validator(mode="after")
    def _fits_mode(self) -> Self:
        if self.mode == "new" and self.target_secret is None:
            raise ValueError("a restore into a new database needs a target_secret")
        if self.mode != "swap" and "safety" in self.model_fields_set:
            raise ValueError("safety is for the mode swap")
        if self.mode == "undo" and self.model_fields_set & {
            "backup",
            "roles",
            "role_map",
            "exceptions",
            "source",
            "runs",
        }:
            raise ValueError("an undo takes neither backup nor source nor runs nor roles nor exceptions")
        self._fits_tables()
        if self.role_map and self.roles == "mine":
            raise ValueError("role_map is for roles: keep; with mine all belongs to one role")
        return self

    def _fits_tables(self) -> None:
        if self.mode == "tables" and not self.tables:
            raise ValueError("the mode tables needs tables: a list of SCHEMA.TABLE")
        if self.mode != "tables" and (self.tables or self.into is not None):
            raise ValueError("tables and into are for the mode tables")
        if self.mode == "tables" and self.runs == "machine":
            raise ValueError("the mode tables runs in one function")
        if self.mode == "tables" and self.model_fields_set & {"roles", "role_map"}:
            raise ValueError("restored tables belong to the target's role: no roles are kept or mapped")


class DrillRequest(Event):
    """Rehearse a restore on a scratch server; without a database, one for each that has such a server.

    Attributes
    ----------
    target_secret:
        Whose URL names the scratch server; by default the registration's ``scratch``.
    keep:
        Leave the restored database there.
    exceptions:
        Whether to go on without what can't be restored; by default what the registration says.
    exercise:
        It is the quarter's: a protocol is written about it.
    """

    action: Literal["drill"]
    database: DatabaseName | None = None
    backup: BackupRef = "latest"
    target_secret: str | None = Field(default=None, min_length=1)
    roles: Literal["keep", "mine"] = "mine"
    keep: bool = False
    exceptions: Literal["refuse", "accept"] | None = None
    exercise: bool = False

    @model_validator(mode="after")
    def _of_one(self) -> Self:
        if self.database is None and self.model_fields_set - {"action", "exercise"}:
            raise ValueError("a drill of all databases takes nothing but whether it is an exercise")
        return self
