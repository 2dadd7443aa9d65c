"""The script for a real account, as far as it goes without one: its calls exist, and it leaves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.aws import show
from tests.support.stores import REGION, Endpoint, local
from tests.support.waiting import soon

BEYOND_MOTO = {
    "urls": "moto checks no signatures",
    "retention": "moto lets retention be shortened",
    "policy": "the local cloud doesn't enforce policies",
}
"""What the script must find wrong with an emulation, or it would find nothing anywhere."""


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """The local cloud, where every client of boto3's finds it."""
    with local(tmp_path) as started:
        monkeypatch.setenv("AWS_ENDPOINT_URL", started.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", started.key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", started.secret)
        monkeypatch.setattr(show, "LOCK_SECONDS", 2)
        monkeypatch.setattr(show, "soon", patient)
        yield started


def patient(account: show.Account, happens: Callable[[], bool]) -> bool:
    """Whether something happens: an event arrives in the end, and nothing enforces a policy."""
    return bool(soon(happens, "an event")) if happens.__name__ == "arrives" else happens()


def test_it_finds_what_an_emulation_lacks_and_cleans_up(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    account = show.Account("check", REGION, patience=1)

    assert set(show.show(account)) == set(BEYOND_MOTO), capsys.readouterr().out

    assert capsys.readouterr().err == ""
    assert account.name not in [bucket["Name"] for bucket in account.s3.list_buckets()["Buckets"]]
    assert account.events.list_rules(NamePrefix="check")["Rules"] == []
    assert "QueueUrls" not in account.sqs.list_queues(QueueNamePrefix="check")


@pytest.mark.parametrize("arguments", [[], ["--region", REGION], ["--bucket-prefix", "check"]])
def test_it_does_nothing_without_a_region_and_a_prefix(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        show.main(arguments)
    assert ended.value.code == 2
