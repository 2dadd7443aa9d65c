"""Signed PUTs without the client's detours: the hot path of a backup.

A client's ``put_object`` spends about 1.4 ms of CPU on hooks, endpoint rules and serialising for each call,
three times what signing and sending take (``docs/decisions/0006-signed-puts.md``).  Signing, credentials and
endpoint stay botocore's, transport and retries urllib3's.
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

from coffre.errors import StoreUnavailableError

_RETRIES = urllib3.Retry(
    total=4,
    backoff_factor=0.2,
    backoff_jitter=0.5,
    status_forcelist=(409, 500, 502, 503, 504),
    allowed_methods=None,
    redirect=False,
    raise_on_status=False,
    respect_retry_after_header=True,
)
"""A 409 means that another conditional write to the key is under way: S3 asks to try again."""


class SignedPut:
    """Writes objects that must not exist yet.

    Parameters
    ----------
    client:
        A boto3 S3 client: its region, endpoint and credentials are used, and stay up to date.
    bucket:
        The bucket's name.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        # No public name leads from a client to its credentials, and they must be the same, refreshed ones.
        self._credentials = client._request_signer._credentials
        self._region = client.meta.region_name
        # The client knows the endpoint and the bucket's place in it; a URL that it presigns shows both.
        url: str = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "-"})
        self._base = url.split("?", 1)[0].removesuffix("-")
        self._http = urllib3.PoolManager(
            maxsize=16, retries=_RETRIES, timeout=urllib3.Timeout(connect=5, read=60)
        )

    def put(self, key: str, body: bytes, sha256: str) -> int:
        """Write ``body`` under ``key`` with its checksum, if nothing is there.

        Returns
        -------
        int
            The HTTP status: 200, or 412 if the key exists.

        Raises
        ------
        StoreUnavailableError
            After bounded retries.
        """
        request = AWSRequest("PUT", self._base + quote(key, safe="/-_.~"), headers=_headers(body, sha256))
        _Signer(self._credentials.get_frozen_credentials(), self._region, sha256).add_auth(request)
        try:
            answer = self._http.request("PUT", str(request.url), body=body, headers=dict(request.headers))
        except urllib3.exceptions.HTTPError as error:
            raise StoreUnavailableError(f"could not write {key}: {type(error).__name__}") from error
        if answer.status not in (200, 412):
            raise StoreUnavailableError(
                f"could not write {key}: the store answered {answer.status} {_code(answer)}"
            )
        return answer.status


class _Signer(S3SigV4Auth):
    """Signs a request whose body's hash is known already."""

    def __init__(self, credentials: Any, region: str, sha256: str) -> None:
        super().__init__(credentials, "s3", region)
        self._sha256 = sha256

    def payload(self, request: AWSRequest) -> str:
        """The hash that the signature covers."""
        del request
        return self._sha256


def _headers(body: bytes, sha256: str) -> dict[str, str]:
    return {
        "Content-Length": str(len(body)),
        "If-None-Match": "*",
        "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(sha256)).decode(),
    }


def _code(answer: urllib3.BaseHTTPResponse) -> str:
    """The error code in S3's answer, for the message."""
    text = answer.data[:2000].decode("utf-8", "replace")
    return text.partition("<Code>")[2].partition("</Code>")[0]
