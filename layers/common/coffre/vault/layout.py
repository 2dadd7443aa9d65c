"""Where things lie in a vault: the keys of format 1 and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.ids import BACKUP_ID, DATABASE_NAME

FORMAT = 1
TICKETS = "_tickets/"


@dataclass(frozen=True)
class Layout:
    """The keys of one database's vault.

    Every key starts with the database's name and a slash, so ``app`` never sees what belongs to
    ``app-prod``.
    """

    database: str

    def __post_init__(self) -> None:
        if not DATABASE_NAME.match(self.database):
            raise ValueError(f"not a database name: {self.database!r}")

    @property
    def backups(self) -> str:
        """The prefix of all backups."""
        return f"{self.database}/backups/"

    @property
    def chunks(self) -> str:
        """The prefix of all chunks."""
        return f"{self.database}/chunks/"

    @property
    def everything(self) -> str:
        """The prefix of all that a vault holds of this database."""
        return f"{self.database}/"

    def report(self, month: str, kind: str) -> str:
        """The key of a month's report, as ``json`` or ``html``."""
        return f"{self.database}/reports/{month}.{kind}"

    def protocol(self, started: str, kind: str) -> str:
        """The key of the protocol of an exercise that started then, as ``md`` or ``html``."""
        return f"{self.database}/reports/exercises/{started}.{kind}"

    def load_test(self, started: str, kind: str) -> str:
        """The key of the report on a load test that started then, as ``json`` or ``html``."""
        return f"{self.database}/reports/loadtests/{started}.{kind}"

    def backup(self, backup_id: str) -> str:
        """The prefix of one backup."""
        return f"{self.backups}{backup_id}/"

    def manifest(self, backup_id: str) -> str:
        """The key whose existence makes a backup exist."""
        return f"{self.backup(backup_id)}manifest.json"

    def attempt(self, backup_id: str, attempt: str) -> str:
        """The prefix of what one attempt wrote."""
        return f"{self.backup(backup_id)}{attempt}/"

    def notes(self, backup_id: str) -> str:
        """The prefix of a backup's notes: holds, pins, promotions."""
        return f"{self.backup(backup_id)}notes/"

    def chunk(self, chunk_id: str) -> str:
        """The key of a chunk, by its id of 64 hex digits."""
        return f"{self.chunks}{chunk_id[:2]}/{chunk_id}"

    def checks(self, sha256: str) -> str:
        """The key of a list of the owner's checks, by its hash."""
        return f"{self.database}/checks/{sha256}.json"

    def copies(self, backup_id: str) -> str:
        """The prefix of what checks of a backup's copy found."""
        return f"{self.database}/copies/{backup_id}/"

    @property
    def rehearsals(self) -> str:
        """The prefix of what rehearsals of upgrades found, whatever the backup."""
        return f"{self.database}/upgrades/"

    def rehearsal(self, backup_id: str, time: str) -> str:
        """The key of what a rehearsal with this backup found, which ended then."""
        return f"{self.rehearsals}{backup_id}/{time}.json"

    def proofs(self, backup_id: str) -> str:
        """The prefix of a backup's evidence."""
        return f"{self.database}/proofs/{backup_id}/"


def backup_of_manifest(key: str) -> str | None:
    """The backup id in a manifest's key; None for any other key."""
    pieces = key.split("/")
    if (
        len(pieces) == 4
        and pieces[1] == "backups"
        and pieces[3] == "manifest.json"
        and BACKUP_ID.match(pieces[2])
    ):
        return pieces[2]
    return None
