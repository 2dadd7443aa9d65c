"""An endpoint is up only if it answers as its owner said, and asking it harms nobody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from functools import partial

import pytest
from pydantic import ValidationError

from coffre.databases import asking
from coffre.databases.asking import MAX_REDIRECTS, ask, ask_all, ask_until_up, down
from coffre.databases.endpoints import Endpoint
from coffre.databases.registration import decode
from coffre.errors import InvalidRegistrationError
from tests.support.application import Application, application


@pytest.fixture(scope="module")
def server() -> Iterator[Application]:
    """The application of all tests here."""
    with application() as app:
        yield app


@pytest.fixture
def app(server: Application) -> Application:
    """It, without memories."""
    server.answers.clear()
    server.asked.clear()
    return server


@pytest.mark.parametrize("status", [200, 204, 302, 401, 503])
def test_an_endpoint_is_up_if_it_answers_the_status_that_it_should(app: Application, status: int) -> None:
    url = app.set("/health", status, location="/elsewhere" if status == 302 else "")
    answer = ask(Endpoint(url=url, status=status))
    assert (answer.up, answer.status, answer.reason, answer.url) == (True, status, "", url)
    assert answer.seconds > 0


def test_another_status_is_down_and_says_both(app: Application) -> None:
    answer = ask(Endpoint(url=app.set("/health", 503)))
    assert (answer.up, answer.status, answer.reason) == (False, 503, "answered 503, not 200")
    finding = down(answer)
    assert (finding.level, finding.code) == ("refuse", "endpoint-down")
    assert "answered 503" in finding.message


def test_an_endpoint_that_is_silent_is_down_after_its_time(app: Application) -> None:
    answer = ask(Endpoint(url=app.url("/silent"), within=0.2))
    assert (answer.up, answer.status) == (False, None)
    assert answer.reason.startswith("no answer")


def test_nobody_listening_and_no_such_name_are_told_apart() -> None:
    with socket.socket() as taken:  # a port that nobody else gets, and nobody listens on
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert "refused" in ask(Endpoint(url=f"http://127.0.0.1:{port}/")).reason
    assert "resolved" in ask(Endpoint(url="http://nobody.invalid/")).reason


def test_a_server_that_speaks_no_tls_is_down(app: Application) -> None:
    assert "TLS failed" in ask(Endpoint(url=f"https://127.0.0.1:{app.port}/")).reason


def test_redirects_on_the_same_host_are_followed_and_counted(app: Application) -> None:
    app.set("/deep", 200)
    for number in range(MAX_REDIRECTS + 1):
        app.set(f"/{number}", 301, location=f"/{number + 1}" if number < MAX_REDIRECTS else "/deep")
    assert ask(Endpoint(url=app.url("/1"))).up
    app.asked.clear()
    answer = ask(Endpoint(url=app.url("/0")))
    assert answer.reason == f"answered with more than {MAX_REDIRECTS} redirects"
    assert len(app.asked) == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "location", ["http://localhost:{port}/internal", "http://u:p@127.0.0.1:{port}/internal", "file:///etc/x"]
)
def test_an_application_cannot_send_the_function_elsewhere(app: Application, location: str) -> None:
    app.set("/internal", 200)
    answer = ask(Endpoint(url=app.set("/", 302, location=location.format(port=app.port))))
    assert "another host" in answer.reason
    assert [path for path, _ in app.asked] == ["/"]


def test_a_request_carries_nothing_and_no_proxy_sees_it(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert ask(Endpoint(url=app.set("/health", 200) + "?token=hidden")).up
    ((_, headers),) = app.asked
    assert {name.lower() for name in headers} == {"host", "user-agent", "accept-encoding"}


def test_a_query_is_shown_nowhere(app: Application) -> None:
    answer = ask(Endpoint(url=app.set("/health", 500) + "?token=hidden"))
    assert "hidden" not in answer.model_dump_json() + down(answer).model_dump_json()


def test_all_are_asked_at_the_same_time_and_one_that_hangs_holds_up_nobody(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "wait", partial(wait, return_when=FIRST_COMPLETED))  # then the time is over
    fine = Endpoint(url=app.set("/health", 200))
    answers = ask_all([Endpoint(url=app.url("/silent"), within=20), fine], seconds=60)
    assert answers[0] is None
    assert answers[1] is not None
    assert answers[1].up
    assert ask_all([], seconds=1) == []


def test_an_application_has_time_to_connect_again(app: Application) -> None:
    slow, fine = Endpoint(url=app.set("/slow", 502, 502, 200)), Endpoint(url=app.set("/fine", 200))
    answers = ask_until_up([slow, fine], tries=3, pause=0.0, seconds=60)
    assert [answer.up for answer in answers] == [True, True]
    assert [path for path, _ in app.asked].count("/fine") == 1, "what is up isn't asked again"
    app.set("/slow", 502, 502, 200)
    assert not ask_until_up([slow], tries=2, pause=0.0, seconds=60)[0].up


def test_an_endpoint_that_there_was_no_time_for_counts_as_down(app: Application) -> None:
    (answer,) = ask_until_up([Endpoint(url=app.url("/silent"), within=20)], tries=3, pause=0.0, seconds=0.1)
    assert (answer.up, answer.reason) == (False, "there was no time left to wait for an answer")


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret@shop.example/",
        "https://user@shop.example/",
        "ftp://shop.example/",
        "https:///health",
        "https://shop.example/#part",
        "https://shop.example/a b",
        "https://shop.example/\u00e4",
        "https://shop.example:0/",
        "https://shop.example:99999/",
        "shop.example",
        "https://shop.example/" + "x" * 500,
    ],
)
def test_a_url_that_is_none_or_holds_credentials_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Endpoint(url=url)


def test_a_registration_with_a_wrong_endpoint_names_the_field_and_hides_the_password() -> None:
    text = '{"secret": "s", "endpoints": [{"url": "https://u:hunter2@shop.example/"}]}'
    with pytest.raises(InvalidRegistrationError) as error:
        decode(text, name="shop")
    assert "endpoints.0.url" in error.value.message
    assert "hunter2" not in error.value.message


def test_one_that_had_its_time_is_down_even_if_it_is_still_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of several addresses each is given all of the time by the library."""
    released = threading.Event()
    monkeypatch.setattr(asking, "ask", lambda _: released.wait(30))
    found = ask_all(
        [Endpoint(url=f"http://app/{within}", within=within) for within in (0.1, 20)], seconds=0.3
    )
    released.set()
    assert found[1] is None
    assert found[0] is not None
    assert (found[0].up, found[0].reason) == (False, "no answer within 0.1 s")


@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.170.2:80", "[fe80::1]"])
def test_no_address_is_asked_at_which_clouds_hand_out_credentials(host: str) -> None:
    with pytest.raises(ValidationError, match="link-local"):
        Endpoint(url=f"http://{host}/latest/meta-data/")
