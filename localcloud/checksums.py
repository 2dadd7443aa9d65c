"""Checksums of S3 uploads, verified as S3 does; moto believes whatever it is told.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

import base64
import hashlib
import zlib
from collections.abc import Callable
from typing import Any

from localcloud.server import Response

_ALGORITHMS: dict[str, Callable[[bytes], bytes]] = {
    "SHA256": lambda body: hashlib.sha256(body).digest(),
    "SHA1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "CRC32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
}
_REFUSED = "<Error><Code>BadDigest</Code><Message>{}</Message></Error>"


def checksum_route(method: str, path: str, environ: dict[str, Any], body: bytes) -> Response | None:  # noqa: ARG001
    """Refuse an upload whose ``Content-MD5``, SHA-256, SHA-1 or CRC-32 is not that of its body.

    For the others it tells moto which algorithm a checksum is of; moto keeps it only then. Bodies in
    ``aws-chunked`` framing pass.
    """
    if method != "PUT" or "HTTP_X_AMZ_DECODED_CONTENT_LENGTH" in environ:
        return None
    for name, compute in _ALGORITHMS.items():
        told = environ.get(f"HTTP_X_AMZ_CHECKSUM_{name}")
        if told is None:
            continue
        environ.setdefault("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", name)
        if told != base64.b64encode(compute(body)).decode():
            return _refuse(f"The {name} you specified did not match the calculated checksum.")
    told = environ.get("HTTP_CONTENT_MD5")
    if (
        told is not None
        and told != base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    ):
        return _refuse("The Content-MD5 you specified did not match what we received.")
    return None


def _refuse(message: str) -> Response:
    return Response(400, _REFUSED.format(message).encode(), [("Content-Type", "application/xml")])
