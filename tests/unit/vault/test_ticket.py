"""A ticket gives its bearer exactly the objects that it names, and no message ever shows a URL."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from coffre.errors import ObjectCorruptError, ObjectMissingError, StoreUnavailableError
from coffre.vault import ticket as tickets
from coffre.vault.layout import TICKETS
from coffre.vault.ticket import Ticket, TicketReader, issue_ticket, open_ticket
from tests.support.vault import ServedStore

TICKET = Ticket("shop", "20261120T030000Z-daily-1f09ab", "ab" * 32, "shop/backups/x/manifest.json")


class Store(ServedStore):
    """Forbids one key, and breaks off in the middle of another."""

    def answer(self, key: str, version: str | None) -> tuple[int, bytes, int]:
        status, body, length = super().answer(key, version)
        if key == "broken":
            return status, body[:100], length
        return (403, b"", 0) if key == "forbidden" else (status, body, length)


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as store:
        yield store


def test_a_ticket_opens_the_objects_it_names_and_no_others(store: Store, tmp_path: Path) -> None:
    for number in range(300):
        store.put(f"shop/chunks/{number}", b"%d" % number)
    store.put("shop/secret", b"not for the proof")
    url = issue_ticket(store, TICKET, [(f"shop/chunks/{n}", None) for n in range(300)], seconds=60)
    assert open_ticket(url, tmp_path / "urls") == TICKET
    reader = TicketReader(tmp_path / "urls")
    for number in (0, 7, 299):
        with reader.get(f"shop/chunks/{number}") as body:
            assert body.read() == b"%d" % number
    with pytest.raises(ObjectMissingError, match="shop/secret"):
        reader.get("shop/secret")


def test_a_ticket_lies_where_objects_expire(store: Store) -> None:
    issue_ticket(store, TICKET, [], seconds=60)
    assert all(key.startswith(f"{TICKETS}shop/") for key in store.keys())  # noqa: SIM118 - not a mapping


def test_a_ticket_can_name_a_version_behind_a_marker(store: Store, tmp_path: Path) -> None:
    store.put("chunk", b"hidden")
    version = next(store.versions("chunk")).version
    store.mark_deleted("chunk")
    open_ticket(issue_ticket(store, TICKET, [("chunk", version)], seconds=60), tmp_path / "urls")
    with TicketReader(tmp_path / "urls").get("chunk") as body:
        assert body.read() == b"hidden"


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("missing", ObjectMissingError),
        ("forbidden", StoreUnavailableError),
        ("broken", StoreUnavailableError),
    ],
)
def test_an_object_that_can_not_be_read_is_named_and_its_url_is_not(
    store: Store, tmp_path: Path, key: str, error: type[Exception]
) -> None:
    store.put("broken", b"x" * 100_000)
    open_ticket(issue_ticket(store, TICKET, [(key, None)], seconds=60), tmp_path / "urls")
    with pytest.raises(error, match=key) as caught, TicketReader(tmp_path / "urls").get(key) as body:
        while body.read(1 << 16):
            pass
    seen: BaseException | None = caught.value
    while seen is not None:
        assert ServedStore.signature not in str(seen)
        seen = None if seen.__suppress_context__ else seen.__context__


def test_a_server_that_is_gone_is_the_stores_fault(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tickets, "_RETRIES", urllib3.Retry(total=0))
    url = issue_ticket(store, TICKET, [], seconds=60).replace(store.address, "127.0.0.1:9")
    with pytest.raises(StoreUnavailableError):
        open_ticket(url, tmp_path / "urls")


@pytest.mark.parametrize("change", [lambda body: body[:-4], lambda _: b"", lambda _: b"no ticket"])
def test_a_ticket_that_was_changed_opens_nothing(store: Store, tmp_path: Path, change: Any) -> None:
    url = issue_ticket(store, TICKET, [("a", None)], seconds=60)
    store.tamper(store.keys(TICKETS)[0], change)
    with pytest.raises(ObjectCorruptError):
        open_ticket(url, tmp_path / "urls")


def test_no_retry_writes_a_url_into_the_log(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("chunk", b"bytes")
    open_ticket(issue_ticket(store, TICKET, [("chunk", None)], seconds=60), tmp_path / "urls")
    reader = TicketReader(tmp_path / "urls")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}/chunk?{Store.signature}"
        threading.Thread(target=lambda: [nobody.accept()[0].close() for _ in range(5)], daemon=True).start()
        with pytest.raises(StoreUnavailableError):
            tickets.download(reader._http, address, "chunk")
    assert Store.signature not in caplog.text
