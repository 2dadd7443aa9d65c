"""Signatures are those that botocore's signer makes, whatever is signed."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import parse_qsl, quote, urlsplit

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import example, given
from hypothesis import strategies as st

from coffre.vault.sigv4 import Place, presigned_target, signed_headers

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
HOSTS = st.sampled_from(
    [
        ("https", "vault.s3.eu-west-1.amazonaws.com"),
        ("http", "127.0.0.1:4566"),
        ("https", "store.example:9000"),
    ]
)
PLACES = st.builds(
    lambda key, version: (
        "/" + quote(key, safe="/-_.~"),
        () if version is None else (("versionId", version),),
    ),
    TEXT,
    st.none() | st.text(min_size=1, max_size=20).filter(str.isprintable),
)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Length", "If-None-Match", "x-amz-checksum-sha256", "x-amz-meta-note"]),
    PRINTABLE,
)
CREDENTIALS = st.builds(ReadOnlyCredentials, PRINTABLE, PRINTABLE, st.none() | PRINTABLE)
REGIONS = st.sampled_from(["us-east-1", "eu-west-1", "cn-north-1"])
MOMENTS = st.integers(1_600_000_000, 4_000_000_000).map(lambda at: datetime.fromtimestamp(at, UTC))
HASH = "ab" * 32


class Signer(auth.S3SigV4Auth):
    """botocore's, for a body whose hash is known."""

    def payload(self, request: AWSRequest) -> str:
        del request
        return HASH


def request_of(method: str, there: tuple[str, str], place: Place, headers: dict[str, str]) -> AWSRequest:
    return AWSRequest(method, f"{there[0]}://{there[1]}{place.target}", headers=headers)


@given(st.sampled_from(["GET", "PUT", "HEAD"]), HOSTS, PLACES, HEADERS, CREDENTIALS, REGIONS, MOMENTS)
def test_requests_are_signed_as_botocore_signs_them(
    method: str,
    there: tuple[str, str],
    path: tuple[str, tuple[tuple[str, str], ...]],
    headers: dict[str, str],
    credentials: ReadOnlyCredentials,
    region: str,
    now: datetime,
) -> None:
    place = Place(there[1], *path)
    request = request_of(method, there, place, headers)
    with patch.object(auth, "get_current_datetime", return_value=now):
        Signer(credentials, "s3", region).add_auth(request)

    ours = signed_headers(method, place, headers, HASH, credentials=credentials, region=region, now=now)

    assert {k.lower(): v for k, v in ours.items()} == {k.lower(): v for k, v in request.headers.items()}


@given(HOSTS, PLACES, CREDENTIALS, REGIONS, MOMENTS, st.integers(1, 604800))
@example(
    ("http", "127.0.0.1:4566"),
    ("//", ()),  # a key that begins with a slash
    ReadOnlyCredentials("id", "secret", None),
    "eu-west-1",
    datetime(2026, 11, 26, tzinfo=UTC),
    900,
)
def test_urls_are_signed_as_botocore_signs_them(
    there: tuple[str, str],
    path: tuple[str, tuple[tuple[str, str], ...]],
    credentials: ReadOnlyCredentials,
    region: str,
    now: datetime,
    seconds: int,
) -> None:
    place = Place(there[1], *path)
    request = request_of("GET", there, place, {})
    with patch.object(auth, "get_current_datetime", return_value=now):
        auth.S3SigV4QueryAuth(credentials, "s3", region, expires=seconds).add_auth(request)
    theirs = urlsplit(request.url)

    target = presigned_target(place, credentials=credentials, region=region, now=now, seconds=seconds)
    ours = urlsplit(f"{there[0]}://{there[1]}{target}")

    assert ours.path == theirs.path
    assert sorted(parse_qsl(ours.query)) == sorted(parse_qsl(theirs.query))
