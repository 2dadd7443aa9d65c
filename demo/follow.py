"""Following a backup and its proof, which run elsewhere, by what the catalogue and the vault say."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config

import localcloud
from coffre.catalogue.entries import BackupEntry
from coffre.catalogue.index import Catalogue
from coffre.results import VerifyResult
from coffre.vault.evidence import newest_evidence
from coffre.vault.store import ObjectStore
from coffre_cli.output import count, size
from demo.errors import DemoError
from demo.show import Bars, Show

_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 300.0

Found = TypeVar("Found")


class Follower:
    """Watches one database in a local cloud.

    Parameters
    ----------
    info:
        The answer of ``coffre local up``.
    state:
        The local cloud's folder.
    """

    def __init__(self, info: Mapping[str, Any], state: Path, database: str, show: Show) -> None:
        boto: Any = boto3.Session("local", "local", region_name=info["region"])
        # The endpoint is on this machine: a proxy of the environment must not see it.
        around = {"endpoint_url": info["endpoint"], "config": Config(proxies={})}
        self._catalogue = Catalogue(boto.client("dynamodb", **around), info["table"])
        self._store = ObjectStore(boto.client("s3", **around), info["bucket"])
        self._state = state
        self._database = database
        self._show = show

    def backup(self) -> BackupEntry:
        """Wait for the first backup of the database to appear and to be completed.

        Raises
        ------
        DemoError
            If it fails, or doesn't come.
        """

        def look(bars: Bars) -> BackupEntry | None:
            entry = next(self._catalogue.backups(self._database), None)
            if entry is None:
                bars.update("backup", note="the schedule calls the function")
                return None
            if entry.status == "failed":
                raise DemoError(f"the backup failed: [{entry.error_code}] {entry.error_message}")
            note = (
                f"{size(entry.done)} of {size(entry.total)}, {count(entry.rows)} rows" if entry.total else ""
            )
            bars.update("backup", entry.done, entry.total, note)
            return entry if entry.status == "completed" else None

        return self._wait("backup", look)

    def proof(self, backup_id: str) -> VerifyResult:
        """Wait for the verification that the manifest's S3 event starts, and say what it found.

        Raises
        ------
        DemoError
            If the event doesn't arrive, or the verdict isn't ``proven``.
        """
        self._wait("S3 event", lambda bars: self._verification_began(bars, backup_id))
        self._show.done("S3 event: the manifest was created, EventBridge called `verify`")

        def look(bars: Bars) -> BackupEntry | None:
            bars.update("proof", note="read back, restored into an empty PostgreSQL, compared")
            entry = self._catalogue.backup(self._database, backup_id)
            return entry if entry and entry.verdict else None

        entry = self._wait("proof", look)
        if entry.verdict != "proven":
            told = "; ".join(f"{reason.code} {reason.object}: {reason.message}" for reason in entry.reasons)
            raise DemoError(f"the verdict on {backup_id} is {entry.verdict}: {told}")
        evidence = newest_evidence(self._store, self._database, backup_id, entry.root_hash or "")
        if evidence is None:
            raise DemoError(f"{backup_id} is said to be proven, but the vault holds no evidence")
        return evidence

    def settle(self) -> None:
        """Wait until nothing is under way any more.

        Raises
        ------
        DemoError
            If a delivery or an invocation failed for good.
        """
        if not localcloud.drain(self._state):
            raise DemoError("something in the local cloud doesn't come to an end")
        self._raise_failure()

    def _verification_began(self, bars: Bars, backup_id: str) -> bool | None:
        bars.update("S3 event", note="manifest.json created")
        entry = self._catalogue.backup(self._database, backup_id)
        runs = self._catalogue.live_runs(self._database)
        began = (entry and entry.verdict) or any(run.kind == "verify" for run in runs)
        return True if began else None

    def _wait(self, what: str, look: Callable[[Bars], Found | None]) -> Found:
        end = time.monotonic() + _PATIENCE_SECONDS
        with self._show.bars() as bars:
            while time.monotonic() < end:
                found = look(bars)
                if found is not None:
                    return found
                self._raise_failure()
                time.sleep(_POLL_SECONDS)
        raise DemoError(f"no {what} within {_PATIENCE_SECONDS:.0f} s")

    def _raise_failure(self) -> None:
        for failure in localcloud.failures(self._state):
            raise DemoError(f"{failure['kind']} to {failure['target']} failed: {failure['reason']}")
