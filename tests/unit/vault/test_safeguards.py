"""A bucket whose own settings could lose a backup is refused before anything is written (B16, C02)."""

from __future__ import annotations

from typing import Any

import pytest

from coffre.errors import VaultUnsafeError
from coffre.vault.layout import Layout
from coffre.vault.safeguards import check_safeguards
from tests.fakes.store import MemoryStore

SHOP = Layout("shop")


class Bucket(MemoryStore):
    """A bucket with these settings."""

    def __init__(self, *rules: dict[str, Any], versions: str = "Enabled") -> None:
        super().__init__()
        self._rules = [{"ID": "rule", "Status": "Enabled", **rule} for rule in rules]
        self._state = versions

    def versioning(self) -> str:
        return self._state

    def lifecycle_rules(self) -> list[dict[str, Any]]:
        return self._rules


@pytest.mark.parametrize("state", ["Suspended", "Off"])
def test_a_bucket_that_keeps_no_versions_is_refused(state: str) -> None:
    with pytest.raises(VaultUnsafeError):
        check_safeguards(Bucket(versions=state), SHOP)


EXPIRES = [
    {"Expiration": {"Days": 30}},
    {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}, "Filter": {}},
    {"Expiration": {"Days": 30}, "Filter": {"Prefix": "shop/"}},
    {"Expiration": {"Days": 30}, "Filter": {"Prefix": "shop/chunks/"}},
    {"Expiration": {"Days": 30}, "Filter": {"And": {"Prefix": "sh", "Tags": []}}},
    {"Expiration": {"Days": 30}, "Prefix": "shop/backups/2026"},
    {"Expiration": {"Days": 30}, "Filter": {"ObjectSizeGreaterThan": 1}},
]


@pytest.mark.parametrize("rule", EXPIRES, ids=str)
def test_a_lifecycle_rule_that_could_eat_a_backup_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(VaultUnsafeError):
        check_safeguards(Bucket(rule), SHOP)


HARMLESS = [
    {"Expiration": {"Days": 30}, "Status": "Disabled"},
    {"Expiration": {"Days": 1}, "Prefix": "_tickets/"},
    {"Expiration": {"Days": 30}, "Filter": {"Prefix": "shop-old/"}},
    {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
]


@pytest.mark.parametrize("rule", HARMLESS, ids=str)
def test_a_rule_that_touches_no_backup_of_this_database_is_fine(rule: dict[str, Any]) -> None:
    assert check_safeguards(Bucket(rule), SHOP) == []


def test_a_rule_that_moves_backups_to_an_archive_is_told() -> None:
    (finding,) = check_safeguards(Bucket({"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}), SHOP)
    assert (finding.level, finding.code) == ("warn", "vault-transition")
