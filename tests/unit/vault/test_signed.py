"""Where requests go and how URLs are signed in each of AWS's regions, which no emulation shows."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from coffre.vault.signed import SignedRequests

REGIONS = {
    "us-east-1": "vault.s3.amazonaws.com",
    "us-west-2": "vault.s3.us-west-2.amazonaws.com",
    "eu-west-1": "vault.s3.eu-west-1.amazonaws.com",
    "eu-south-1": "vault.s3.eu-south-1.amazonaws.com",
    "cn-north-1": "vault.s3.cn-north-1.amazonaws.com.cn",
}


def signed(region: str) -> SignedRequests:
    """Of a client as Lambda makes it."""
    client = boto3.client(
        "s3",
        region_name=region,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        aws_session_token="token/+",
    )
    return SignedRequests.of_client(client, "vault")


@pytest.mark.parametrize(("region", "host"), REGIONS.items())
def test_requests_go_to_the_endpoint_of_the_buckets_own_region(region: str, host: str) -> None:
    assert signed(region).hand_over()["base"] == f"https://{host}/"


@pytest.mark.parametrize("region", REGIONS)
def test_urls_are_signed_by_version_4_which_objects_under_a_kms_key_demand(region: str) -> None:
    url = urlsplit(signed(region).presigned("shop/a b", seconds=60, version="v/1="))
    query = parse_qs(url.query)

    assert (url.hostname, url.path) == (REGIONS[region], "/shop/a%20b")
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Credential"][0].split("/")[2] == region
    assert (query["X-Amz-Expires"], query["versionId"]) == (["60"], ["v/1="])
    assert query["X-Amz-Security-Token"] == ["token/+"]


def test_another_process_signs_the_same_urls() -> None:
    here = signed("eu-west-1")
    there = SignedRequests.handed_over(here.hand_over())

    assert there.hand_over() == here.hand_over()
    assert urlsplit(there.presigned("k", seconds=9)).hostname == REGIONS["eu-west-1"]
