"""In a vault of replicas rotation waits as long as replication may take, not only as long as a run."""

from __future__ import annotations

import pytest

from coffre import wiring
from coffre.settings import Settings

WEEK = 7 * 24 * 3600


@pytest.mark.parametrize(("patience", "waits"), [("0", 21_600), (str(WEEK), WEEK)])
def test_rotation_waits_for_runs_and_for_replicas(
    monkeypatch: pytest.MonkeyPatch, patience: str, waits: int
) -> None:
    environment = {
        "COFFRE_STACK": "second",
        "COFFRE_BUCKET": "second-vault",
        "COFFRE_TABLE": "catalogue",
        "COFFRE_MAX_RUN_SECONDS": "21600",
        "COFFRE_PATIENCE_SECONDS": patience,
    }
    monkeypatch.setattr(wiring, "settings", lambda: Settings.from_environment(environment))
    for part in ("store", "catalogue", "publisher"):
        monkeypatch.setattr(wiring, part, lambda: None)

    assert wiring.rotate_services().max_run_seconds == waits
