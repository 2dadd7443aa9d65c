"""Asking the application's endpoints whether they answer as they should.

A request carries no credentials and no cookies, no proxy of the environment sees it, and of the answer only
the status is read.  Redirects are followed three times at most, and only on the same host: an application
can't send a function, which stands inside of the owner's network, to somewhere else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from coffre.databases.endpoints import Endpoint
from coffre.results import EndpointAnswer, Finding

if TYPE_CHECKING:
    from urllib3 import PoolManager

AT_ONCE = 8
MAX_REDIRECTS = 3
AGENT = "coffre"
_REDIRECTS = (301, 302, 303, 307, 308)


class _TooSlowError(Exception):
    """The time of the endpoint is over; never leaves this module."""


def ask(endpoint: Endpoint) -> EndpointAnswer:
    """Ask one endpoint, once.  Nothing that it does is an error: it is what the answer says."""
    from urllib3 import PoolManager
    from urllib3.exceptions import HTTPError

    began = time.monotonic()
    status, reason = None, ""
    try:
        with PoolManager(headers={"User-Agent": AGENT}) as pool:
            status, reason = _follow(pool, endpoint, began + endpoint.within)
    except _TooSlowError:
        reason = _late(endpoint)
    except (HTTPError, OSError, ValueError) as error:
        reason = _cause(error)
    seconds = time.monotonic() - began
    if not reason and status != endpoint.status:
        reason = f"answered {status}, not {endpoint.status}"
    if not reason and seconds > endpoint.within:
        reason = f"answered after {seconds:.1f} s, not within {endpoint.within:g} s"
    return EndpointAnswer(
        url=endpoint.label, up=not reason, status=status, seconds=round(seconds, 4), reason=reason
    )


def ask_all(endpoints: Sequence[Endpoint], *, seconds: float) -> list[EndpointAnswer | None]:
    """Ask several at the same time.

    Parameters
    ----------
    seconds:
        How long all of it may take.

    Returns
    -------
    list
        An answer for each, in their order; None for one that wasn't asked long enough in that time.
    """
    began: dict[int, float] = {}

    def timed(index: int, endpoint: Endpoint) -> EndpointAnswer:
        began[index] = time.monotonic()
        return ask(endpoint)

    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="endpoints")
    asked = [pool.submit(timed, index, endpoint) for index, endpoint in enumerate(endpoints)]
    wait(asked, timeout=max(0.0, seconds))
    pool.shutdown(wait=False, cancel_futures=True)
    return [
        _answer(future, endpoint, began.get(index))
        for index, (future, endpoint) in enumerate(zip(asked, endpoints, strict=True))
    ]


def ask_until_up(
    endpoints: Sequence[Endpoint], *, tries: int, pause: float, seconds: float
) -> list[EndpointAnswer]:
    """Ask until all answer as they should: an application whose sessions were ended connects again first.

    Parameters
    ----------
    tries, pause:
        How often at most, and the seconds between.
    seconds:
        How long all of it may take.

    Returns
    -------
    list
        The last answer of each; one that there was no time to ask counts as down.
    """
    ends = time.monotonic() + seconds
    last: dict[int, EndpointAnswer] = {}
    waiting = list(range(len(endpoints)))
    for attempt in range(tries):
        if attempt:
            time.sleep(min(pause, max(0.0, ends - time.monotonic())))
        answers = ask_all([endpoints[i] for i in waiting], seconds=ends - time.monotonic())
        for index, answer in zip(waiting, answers, strict=True):
            last[index] = answer or last.get(index) or _unasked(endpoints[index])
        waiting = [index for index in waiting if not last[index].up]
        if not waiting or time.monotonic() >= ends:
            break
    return [last[index] for index in range(len(endpoints))]


def down(answer: EndpointAnswer) -> Finding:
    """The finding of an endpoint that isn't up."""
    return Finding(
        level="refuse",
        code="endpoint-down",
        object=answer.url,
        message=f"{answer.url}: {answer.reason}",
        advice="Look at the application; it is asked from where the function runs, in its VPC if it has one.",
    )


def _answer(asked: Future[EndpointAnswer], endpoint: Endpoint, began: float | None) -> EndpointAnswer | None:
    """The answer so far.

    A library's time limit is that of each address and of each read: one that has had its time is down, even
    if it is still waited for.
    """
    if asked.done() and not asked.cancelled():
        return asked.result()
    if began is None or (seconds := time.monotonic() - began) < endpoint.within:
        return None
    return _silent(endpoint, seconds, _late(endpoint))


def _unasked(endpoint: Endpoint) -> EndpointAnswer:
    return _silent(endpoint, 0.0, "there was no time left to wait for an answer")


def _silent(endpoint: Endpoint, seconds: float, reason: str) -> EndpointAnswer:
    return EndpointAnswer(url=endpoint.label, up=False, status=None, seconds=round(seconds, 4), reason=reason)


def _late(endpoint: Endpoint) -> str:
    return f"no answer within {endpoint.within:g} s"


def _follow(pool: PoolManager, endpoint: Endpoint, ends: float) -> tuple[int, str]:
    """The last status, and what is wrong with how it was come by."""
    url = endpoint.url
    for _ in range(MAX_REDIRECTS + 1):
        status, location = _get(pool, url, ends)
        if status == endpoint.status or status not in _REDIRECTS or not location:
            return status, ""
        following = urljoin(url, location)
        if not _may_follow(url, following):
            return status, f"answered {status} and leads to another host, which isn't followed"
        url = following
    return status, f"answered with more than {MAX_REDIRECTS} redirects"


def _get(pool: PoolManager, url: str, ends: float) -> tuple[int, str | None]:
    from urllib3 import Timeout

    left = ends - time.monotonic()
    if left <= 0:
        raise _TooSlowError
    answer = pool.request(
        "GET", url, redirect=False, retries=False, timeout=Timeout(total=left), preload_content=False
    )
    # The body isn't read, so neither its size nor its time can hurt.
    answer.close()
    return answer.status, answer.headers.get("Location")


def _may_follow(url: str, following: str) -> bool:
    """Whether a redirect stays on its host and doesn't fall back from TLS."""
    old, new = urlsplit(url), urlsplit(following)
    safe = new.scheme == "https" or (new.scheme == "http" and old.scheme == "http")
    return safe and "@" not in new.netloc and new.hostname == old.hostname


def _cause(error: Exception) -> str:
    """An error's cause in a few words; the text of urllib3's names objects of its own."""
    from urllib3 import exceptions

    if isinstance(error, exceptions.NameResolutionError):
        return "its name can't be resolved"
    if isinstance(error, exceptions.NewConnectionError):
        return "the connection was refused, or there is no way to it"
    if isinstance(error, exceptions.TimeoutError):
        return "no answer in its time"
    if isinstance(error, exceptions.SSLError):
        return f"TLS failed: {error.args[0]}"[:200]
    return f"broke off: {type(error).__name__}"
