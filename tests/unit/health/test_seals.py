"""Whatever one key's region does, the others are looked at."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from coffre.health.seals import SealProbe
from coffre.vault.keys import SealKeys
from coffre.vault.manifest import SealKey
from tests.fakes.kms import DELETION, KEY, OTHER_KEY, MemoryKms
from tests.fakes.store import START, MemoryStore

FAR = KEY.replace("us-east-1", "eu-west-1")


class Unreachable:
    """A region in which nobody answers."""

    def __init__(self) -> None:
        self.asked = 0

    def decrypt(self, **_: Any) -> None:
        self.asked += 1
        raise EndpointConnectionError(endpoint_url="https://kms.eu-west-1.amazonaws.com")


def sealed_by(kms: MemoryKms, key: str) -> dict[str, int]:
    """A backup's seal, as reports count them."""
    made = SealKeys(lambda _: kms).for_backup(MemoryStore(), "shop", key, START).key
    assert isinstance(made, SealKey)
    return {made.model_dump_json(by_alias=True): 1}


def test_a_dead_region_hides_no_deletion_elsewhere_and_is_asked_once() -> None:
    kms, dead = MemoryKms(), Unreachable()
    far, near = sealed_by(kms, FAR), sealed_by(kms, KEY)
    kms.refusals[KEY] = "KMSInvalidStateException"
    probe = SealProbe(SealKeys(lambda region: dead if region == "eu-west-1" else kms))
    (first,), (second,), (third,) = probe.locked(far), probe.locked(near), probe.locked(far)
    assert [one.level for one in (first, second, third)] == ["warn", "refuse", "warn"]
    assert f"will be deleted on {DELETION:%Y-%m-%d}" in second.message
    assert dead.asked == 1
    assert FAR in third.message


@pytest.mark.parametrize("code", ["ThrottlingException", "DependencyTimeoutException"])
def test_a_key_for_which_kms_fails_says_nothing_of_another_one(code: str) -> None:
    kms = MemoryKms()
    failing, fine = sealed_by(kms, OTHER_KEY), sealed_by(kms, KEY)
    kms.refusals[OTHER_KEY] = code
    probe = SealProbe(SealKeys(lambda _: kms))
    assert [one.level for one in probe.locked(failing)] == ["warn"]
    assert probe.locked(fine) == ()
