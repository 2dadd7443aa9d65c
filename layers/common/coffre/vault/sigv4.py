"""AWS Signature Version 4 for S3, as headers of a request and as a URL that others may read by.

Each chunk is a request of its own, so what signing costs is paid a thousand times for a gigabyte of rows.
botocore's own signer is the twin that the tests hold this one against: it gives the same signatures, takes
six times as long (0.20 against 0.03 ms), and a fifth of a second of processor time to import.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html,
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, Protocol
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials(Protocol):
    """What requests are signed with; botocore's frozen credentials are such."""

    @property
    def access_key(self) -> str:
        """The key's id, which anybody may know."""

    @property
    def secret_key(self) -> str:
        """The key."""

    @property
    def token(self) -> str | None:
        """Of temporary credentials."""


class Place(NamedTuple):
    """Where a request goes.

    Attributes
    ----------
    host:
        As in the header ``Host``: with its port, unless that is the scheme's own.
    path:
        Percent-encoded, as it is sent.
    query:
        Names and values, neither of them encoded.
    """

    host: str
    path: str
    query: tuple[tuple[str, str], ...] = ()

    @property
    def target(self) -> str:
        """Path and query, as the request's first line has them."""
        return f"{self.path}?{_joined(self.query)}" if self.query else self.path


def signed_headers(
    method: str,
    place: Place,
    headers: Mapping[str, str],
    body_sha256: str,
    *,
    credentials: Credentials,
    region: str,
    now: datetime,
) -> dict[str, str]:
    """A request's headers and those that sign it.

    Parameters
    ----------
    headers:
        All of them are signed.
    body_sha256:
        In hex.
    now:
        In UTC.
    """
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    sent = {**headers, "X-Amz-Date": moment, "X-Amz-Content-SHA256": body_sha256}
    if credentials.token:
        sent["X-Amz-Security-Token"] = credentials.token
    covered = sorted([("host", place.host), *((name.lower(), value.strip()) for name, value in sent.items())])
    names = ";".join(name for name, _ in covered)
    request = _canonical(method, place.path, _joined(place.query), covered, names, body_sha256)
    scope = _scope(moment, region)
    signature = _signature(request, moment, scope, credentials.secret_key, region)
    who = f"Credential={credentials.access_key}/{scope}"
    sent["Authorization"] = f"{_ALGORITHM} {who}, SignedHeaders={names}, Signature={signature}"
    return sent


def presigned_target(
    place: Place, *, credentials: Credentials, region: str, now: datetime, seconds: int
) -> str:
    """Path and query that let their bearer GET one object for ``seconds``."""
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = _scope(moment, region)
    query = [
        *place.query,
        ("X-Amz-Algorithm", _ALGORITHM),
        ("X-Amz-Credential", f"{credentials.access_key}/{scope}"),
        ("X-Amz-Date", moment),
        ("X-Amz-Expires", str(seconds)),
        ("X-Amz-SignedHeaders", "host"),
    ]
    if credentials.token:
        query.append(("X-Amz-Security-Token", credentials.token))
    joined = _joined(query)
    request = _canonical("GET", place.path, joined, [("host", place.host)], "host", "UNSIGNED-PAYLOAD")
    signature = _signature(request, moment, scope, credentials.secret_key, region)
    return f"{place.path}?{joined}&X-Amz-Signature={signature}"


def _canonical(
    method: str, path: str, query: str, headers: list[tuple[str, str]], names: str, payload: str
) -> str:
    lines = "".join(f"{name}:{value}\n" for name, value in headers)
    return f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}"


def _joined(query: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> str:
    return "&".join(
        sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query)
    )


def _scope(moment: str, region: str) -> str:
    return f"{moment[:8]}/{region}/s3/aws4_request"


def _signature(request: str, moment: str, scope: str, secret: str, region: str) -> str:
    text = f"{_ALGORITHM}\n{moment}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    return hmac.digest(_key(secret, moment[:8], region), text.encode(), "sha256").hex()


@lru_cache(maxsize=4)
def _key(secret: str, day: str, region: str) -> bytes:
    """The key of one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
