"""Signed PUTs, GETs, HEADs and URLs without the client's detours: the hot paths of a backup and of a restore.

A client's ``put_object`` spends about 1.4 ms of CPU on hooks, endpoint rules and serialising for each call,
three times what signing and sending take (``docs/decisions/0006-signed-requests.md``).  Credentials and
endpoint stay botocore's, transport and retries urllib3's.

URLs are presigned here because in older regions the client signs them by version 2, which S3 refuses for
objects under a KMS key, and everywhere for the global endpoint, which redirects or refuses requests for new
buckets of other regions.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html#VirtualHostingBackwardsCompatibility
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlsplit

import urllib3

from coffre.errors import ObjectMissingError, StoreUnavailableError
from coffre.ids import utc_now
from coffre.vault.sigv4 import Credentials, Place, presigned_target, signed_headers

_RETRIES = urllib3.Retry(
    total=4,
    backoff_factor=0.2,
    backoff_jitter=0.5,
    status_forcelist=(409, 500, 502, 503, 504),
    allowed_methods=None,
    redirect=False,
    raise_on_status=False,
    respect_retry_after_header=True,
    retry_after_max=10,
)
"""A 409 means that another conditional write to the key is under way: S3 asks to try again.  A store that
wants more than ten seconds of patience isn't obeyed: a function's time is counted."""


_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The SHA-256 of an empty body."""


class Frozen(NamedTuple):
    """Credentials that were handed over; they aren't renewed."""

    access_key: str
    secret_key: str
    token: str | None


class SignedRequests:
    """Writes objects that must not exist yet, reads objects, and lets others read them.

    Parameters
    ----------
    base:
        The URL of the bucket, with a slash at its end.
    region:
        The bucket's region.
    credentials:
        Something of botocore's with ``get_frozen_credentials``, or credentials that were handed over.
    owner:
        The account that the bucket must belong to, or empty.  A presigned URL doesn't say it: headers would
        be needed for that, and whoever reads by one compares a hash.
    connect, read:
        Seconds to wait for a connection, and for the next bytes of an answer.
    """

    def __init__(
        self,
        base: str,
        region: str,
        credentials: Any,
        *,
        owner: str = "",
        connect: float = 5,
        read: float = 60,
    ) -> None:
        self._owner = {"x-amz-expected-bucket-owner": owner} if owner else {}
        self._base = base
        self._region = region
        self._credentials = credentials
        self._limits = {"connect": connect, "read": read}
        there = urlsplit(base)
        default = {"http": 80, "https": 443}.get(there.scheme) == there.port
        self._host = (there.hostname or "") if default else there.netloc
        self._root = there.path
        self._http = urllib3.connection_from_url(base, maxsize=16, timeout=urllib3.Timeout(**self._limits))

    @classmethod
    def of_client(cls, client: Any, bucket: str, owner: str = "") -> Self:
        """Works on a bucket as a boto3 S3 client would: its endpoint, region, credentials and time limits."""
        # No public names lead from a client to its credentials, which must be the same, refreshed ones, nor
        # to a bucket's place at its endpoint: what it presigns is for the global one.
        endpoint = client._ruleset_resolver.construct_endpoint(
            operation_model=client.meta.service_model.operation_model("GetObject"),
            call_args={"Bucket": bucket, "Key": "-"},
            request_context={},
        )
        config = client.meta.config
        return cls(
            f"{endpoint.url}/",
            client.meta.region_name,
            client._request_signer._credentials,
            owner=owner,
            connect=config.connect_timeout,
            read=config.read_timeout,
        )

    @classmethod
    def handed_over(cls, message: dict[str, Any]) -> Self:
        """The same in another process; see `hand_over`."""
        return cls(
            message["base"],
            message["region"],
            Frozen(*message["credentials"]),
            owner=message["owner"],
            **message["limits"],
        )

    def hand_over(self) -> dict[str, Any]:
        """What another process needs, for as long as the credentials live: longer than any function."""
        frozen = self._frozen()
        return {
            "base": self._base,
            "region": self._region,
            "credentials": [frozen.access_key, frozen.secret_key, frozen.token],
            "owner": next(iter(self._owner.values()), ""),
            "limits": self._limits,
        }

    def _frozen(self) -> Credentials:
        if isinstance(self._credentials, Frozen):
            return self._credentials
        frozen: Credentials = self._credentials.get_frozen_credentials()
        return frozen

    def put(self, key: str, body: bytes, sha256: str, more: dict[str, str] | None = None) -> tuple[int, bool]:
        """Write ``body`` under ``key`` with its checksum, if nothing is there.

        Parameters
        ----------
        more:
            Headers beside those that each write has.

        Returns
        -------
        tuple[int, bool]
            The HTTP status (200, or 412 if the key exists), and whether it took more than one attempt: then
            the key may exist because an earlier one got through and its answer didn't.

        Raises
        ------
        StoreUnavailableError
            After bounded retries.
        """
        try:
            answer = self._send(
                "PUT", self._place(key), _headers(body, sha256) | (more or {}), sha256, body=body
            )
        except urllib3.exceptions.HTTPError as error:
            raise StoreUnavailableError(f"could not write {key}: {type(error).__name__}") from error
        if answer.status not in (200, 412):
            raise StoreUnavailableError(
                f"could not write {key}: the store answered {answer.status} {_code(answer)}"
            )
        return answer.status, bool(answer.retries and answer.retries.history)

    def get(self, key: str, version: str | None = None) -> io.RawIOBase:
        """The bytes under ``key``, as an unbuffered stream that the caller closes.

        Raises
        ------
        ObjectMissingError
            If there is no such key or version, or the version is a delete marker.
        StoreUnavailableError
            After bounded retries, in the middle of the stream, or if the bucket itself isn't there.
        """
        try:
            answer = self._send("GET", self._place(key, version), {}, preload_content=False)
            if answer.status == 200:
                return _Body(answer, key)
            code = _code(answer)
        except urllib3.exceptions.HTTPError as error:
            raise StoreUnavailableError(f"could not read {key}: {type(error).__name__}") from error
        if _is_missing(answer) and code != "NoSuchBucket":
            raise ObjectMissingError(f"object {key} doesn't exist")
        raise StoreUnavailableError(f"could not read {key}: the store answered {answer.status} {code}")

    def head(self, key: str, version: str | None = None) -> Mapping[str, str] | None:
        """The headers of an object, its checksum among them; None if it doesn't exist.

        S3 doesn't say whether it is the object or the whole bucket that isn't there.

        Raises
        ------
        StoreUnavailableError
            After bounded retries.
        """
        try:
            answer = self._send("HEAD", self._place(key, version), {"x-amz-checksum-mode": "ENABLED"})
        except urllib3.exceptions.HTTPError as error:
            raise StoreUnavailableError(f"could not look at {key}: {type(error).__name__}") from error
        if answer.status == 200:
            return answer.headers
        if _is_missing(answer):
            return None
        raise StoreUnavailableError(f"could not look at {key}: the store answered {answer.status}")

    def presigned(self, key: str, *, seconds: int, version: str | None = None) -> str:
        """A URL that lets its bearer read one object for ``seconds``, if these credentials live as long."""
        target = presigned_target(
            self._place(key, version),
            credentials=self._frozen(),
            region=self._region,
            now=utc_now(),
            seconds=seconds,
        )
        return self._base.removesuffix(self._root) + target

    def _send(
        self, method: str, place: Place, headers: dict[str, str], sha256: str = _NOTHING, **how: Any
    ) -> urllib3.BaseHTTPResponse:
        signed = signed_headers(
            method,
            place,
            headers | self._owner,
            sha256,
            credentials=self._frozen(),
            region=self._region,
            now=utc_now(),
        )
        return self._http.urlopen(
            method, place.target, headers=signed, retries=_RETRIES, redirect=False, **how
        )

    def _place(self, key: str, version: str | None = None) -> Place:
        query = () if version is None else (("versionId", version),)
        return Place(self._host, self._root + quote(key, safe="/-_.~"), query)


class _Body(io.RawIOBase):
    """A response's body whose errors are ours."""

    def __init__(self, answer: urllib3.BaseHTTPResponse, key: str) -> None:
        self._answer = answer
        self._key = key

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            block = self._answer.read(len(buffer), decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreUnavailableError(f"object {self._key} broke off while it was read") from error
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self._answer.close()
        super().close()


def _headers(body: bytes, sha256: str) -> dict[str, str]:
    return {
        "Content-Length": str(len(body)),
        "If-None-Match": "*",
        "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(sha256)).decode(),
    }


def _is_missing(answer: urllib3.BaseHTTPResponse) -> bool:
    """Whether nothing is there, or a delete marker."""
    marker = answer.status == 405 and answer.headers.get("x-amz-delete-marker") == "true"
    return marker or answer.status == 404


def _code(answer: urllib3.BaseHTTPResponse) -> str:
    """The error code in S3's answer, for the message."""
    text = answer.data[:2000].decode("utf-8", "replace")
    return text.partition("<Code>")[2].partition("</Code>")[0]
