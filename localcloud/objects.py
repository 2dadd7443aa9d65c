"""Plain PutObject and GetObject, straight to moto's model.

A backup is thousands of both, and what moto's HTTP layers cost is taken from the backup itself on a small
machine. Only requests without any extra come this way (no query, no range, no metadata, encryption, tags or
lock); all others, and all errors, are moto's.
"""

import contextlib
import hashlib
from collections.abc import Callable
from typing import Any

from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeBucket, FakeKey, S3Backend, s3_backends

from localcloud.server import Response

_PLAIN = {
    "HTTP_X_AMZ_DATE",
    "HTTP_X_AMZ_CONTENT_SHA256",
    "HTTP_X_AMZ_SECURITY_TOKEN",
    "HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM",
    "HTTP_X_AMZ_CHECKSUM_SHA256",
    "HTTP_X_AMZ_CHECKSUM_SHA1",
    "HTTP_X_AMZ_CHECKSUM_CRC32",
    "HTTP_X_AMZ_CHECKSUM_MODE",
    "HTTP_X_AMZ_USER_AGENT",
}
_ELABORATE = {
    "HTTP_RANGE",
    "HTTP_IF_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_CACHE_CONTROL",
    "HTTP_CONTENT_DISPOSITION",
    "HTTP_CONTENT_ENCODING",
    "HTTP_CONTENT_LANGUAGE",
    "HTTP_EXPIRES",
}


class ObjectRoute:
    """Answers plain requests for objects of existing buckets.

    Args:
        account: account id.
        lock: makes the lock of a service.
    """

    def __init__(self, account: str, lock: Callable[[str], contextlib.AbstractContextManager[Any]]) -> None:
        self._account = account
        self._lock = lock

    def __call__(self, method: str, path: str, environ: dict[str, Any], body: bytes) -> Response | None:
        if method not in ("PUT", "GET") or not _is_plain(environ):
            return None
        name, _, key = path.encode("latin-1").decode(errors="replace").lstrip("/").partition("/")
        if not key or "\ufffd" in key:
            return None
        # The dearest part of a PUT; other requests go on meanwhile.
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest() if method == "PUT" else ""
        backend = s3_backends[self._account]["aws"]
        with self._lock("s3"):
            try:
                bucket = backend.get_bucket(name)
                found = backend.get_object(name, key)
            except S3ClientError:
                return None
            if method == "PUT":
                return _put(backend, bucket, key, body, etag=etag, exists=found is not None, environ=environ)
            return _get(found, environ) if isinstance(found, FakeKey) else None


def _is_plain(environ: dict[str, Any]) -> bool:
    if environ.get("QUERY_STRING") or "/s3/aws4_request" not in environ.get("HTTP_AUTHORIZATION", ""):
        return False
    if environ.get("HTTP_IF_NONE_MATCH", "*") != "*" or _ELABORATE & environ.keys():
        return False
    return all(name in _PLAIN for name in environ if name.startswith("HTTP_X_AMZ_"))


def _put(
    backend: S3Backend,
    bucket: FakeBucket,
    key: str,
    body: bytes,
    *,
    etag: str,
    exists: bool,
    environ: dict[str, Any],
) -> Response | None:
    """What moto's PutObject does with a plain request; None if it would refuse."""
    if bucket.object_lock_enabled or (exists and "HTTP_IF_NONE_MATCH" in environ):
        return None
    algorithm = environ.get("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", "")
    checksum = environ.get(f"HTTP_X_AMZ_CHECKSUM_{algorithm}")
    if algorithm and checksum is None:
        return None
    made = backend.put_object(bucket.name, key, body, etag=etag, checksum_value=checksum)
    if kind := environ.get("CONTENT_TYPE"):
        made.set_metadata({"Content-Type": kind})
    made.set_acl(bucket.acl)
    headers = {k: str(v) for k, v in made.response_dict.items() if k != "content-length"}
    if checksum:
        made.checksum_algorithm = algorithm
        headers[f"x-amz-checksum-{algorithm.lower()}"] = checksum
    return Response(200, b"", list(headers.items()))


def _get(key: FakeKey, environ: dict[str, Any]) -> Response | None:
    if key.storage_class != "STANDARD" or key.multipart or "HTTP_IF_NONE_MATCH" in environ:
        return None
    headers = {k: str(v) for k, v in key.response_dict.items() if k != "content-length"}
    if environ.get("HTTP_X_AMZ_CHECKSUM_MODE") == "ENABLED" and key.checksum_algorithm:
        headers[f"x-amz-checksum-{key.checksum_algorithm.lower()}"] = str(key.checksum_value)
    headers.update({k: str(v) for k, v in key.metadata.items()})
    headers["Accept-Ranges"] = "bytes"
    return Response(200, key.value, list(headers.items()))
