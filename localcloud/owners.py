"""The expected owner of a bucket, compared as S3 does; moto doesn't look at it.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
"""

from typing import Any

from localcloud.deploy import ACCOUNT
from localcloud.server import Response

_REFUSED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def owner_route(method: str, path: str, environ: dict[str, Any], body: bytes) -> Response | None:  # noqa: ARG001
    """Refuse a request that expects its bucket to belong to an account that isn't this one."""
    if environ.get("HTTP_X_AMZ_EXPECTED_BUCKET_OWNER", ACCOUNT) == ACCOUNT:
        return None
    return Response(403, _REFUSED, [("Content-Type", "application/xml")])
