"""Building what follows the rows, entry by entry, by a worker process: each once, whoever else tries."""

from __future__ import annotations

from pathlib import Path

from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.notes import Notes, build_unlimited
from coffre.databases.postgresql.schema import SchemaArchive
from coffre.databases.postgresql.subscriptions import DETACH
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.tools import Tools
from coffre.errors import (
    CatalogChangedError,
    PrivilegesMissingError,
    QueryFailedError,
    ValueTooLargeError,
)
from coffre.workers import Message

_REFUSED = (QueryFailedError, PrivilegesMissingError, CatalogChangedError, ValueTooLargeError)
_DEADLOCK = "40P01"
TRIES = 5
"""Two foreign keys that refer to each other's tables may shut each other out; one of them is tried again."""


class LateTask:
    """A worker process that builds entries of a schema archive.

    The setup holds the ``archive``'s path, the folder of the ``tools``, ``major`` and ``options`` of
    pg_restore, the ``deadline`` on the monotonic clock, and the restore's ``attempt``.
    """

    def __init__(self, setup: Message) -> None:
        target = Target(**setup["target"])
        self._session = open_session(target, seconds=setup["seconds"], application="coffre/build")
        build_unlimited(self._session)
        self._notes = Notes(self._session, setup["attempt"])
        self._archive = SchemaArchive(
            Tools(Path(setup["tools"])),
            setup["major"],
            Path(setup["archive"]),
            target,
            setup["deadline"],
            tuple(setup["options"]),
        )

    def run(self, item: Message) -> Message:
        """Build one entry; the answer says whether the server ``refused`` it.

        A ``subscription`` lets go of the source's slot in the message that makes it.
        """
        entry = int(item["entry"])
        if self._notes.is_built(entry):
            return {"refused": False}
        script = self._archive.script(entry) + (DETACH if item["subscription"] else b"")
        try:
            build_patiently(self._notes, entry, script)
        except _REFUSED as error:
            self._notes.complain(entry, error.message)
            return {"refused": True}
        return {"refused": False}

    def finish(self) -> Message:
        """End the session."""
        self._session.close()
        return {}


def build_patiently(notes: Notes, entry: int, script: bytes) -> None:
    """Build an entry, again if somebody who built another one stood in the way.

    Raises
    ------
    CoffreError
        What the server said the last time.
    """
    for tries in range(1, TRIES + 1):
        try:
            notes.build_once(entry, script)
        except QueryFailedError as error:
            if tries == TRIES or error.sqlstate != _DEADLOCK:
                raise
        else:
            return
