"""The application's own endpoints, which tell whether the application works."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LONGEST_SECONDS = 20.0
"""The longest that an endpoint may be given: health reports on all of them in one short run."""


def _url(value: str) -> str:
    pieces = urlsplit(value)
    if pieces.scheme not in ("http", "https") or not pieces.hostname:
        raise ValueError("an endpoint is http://host/path or https://host/path")
    if "@" in pieces.netloc:
        raise ValueError("an endpoint's URL holds no user and no password: registrations aren't secret")
    if pieces.fragment or any(ord(letter) <= 0x20 or ord(letter) >= 0x7F for letter in value):
        raise ValueError("an endpoint's URL is printable ASCII without a fragment")
    if pieces.port == 0:
        raise ValueError("an endpoint's port is 1 to 65535")
    if _is_link_local(pieces.hostname):
        raise ValueError("a link-local address is no application: clouds hand out credentials there")
    return value


def _is_link_local(host: str) -> bool:
    try:
        return ip_address(host).is_link_local
    except ValueError:
        return False


class Endpoint(BaseModel):
    """One URL of the application, and what it answers when all is well.

    Attributes
    ----------
    url:
        Asked by GET.  Without credentials.  Addresses of private networks are allowed, link-local ones
        aren't: whoever may write a registration decides what the functions ask.
    status:
        The HTTP status that it must answer.
    within:
        Seconds that the answer may take, from the first packet to the last header.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(max_length=500), AfterValidator(_url)]
    status: Annotated[int, Field(ge=200, le=599)] = 200
    within: Annotated[float, Field(gt=0, le=LONGEST_SECONDS)] = 5

    @property
    def label(self) -> str:
        """The URL as messages show it: without its query, which may hold what is nobody's business."""
        pieces: SplitResult = urlsplit(self.url)
        return f"{pieces.scheme}://{pieces.netloc}{pieces.path}"
