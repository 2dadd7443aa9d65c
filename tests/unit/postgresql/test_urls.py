"""A URL leads where it says, with verified TLS unless it says so, and never shows up in a message."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.databases.postgresql.connection import refuse_pooler_host
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.urls import format_url, parse_secret, parse_url
from coffre.errors import InvalidUrlError, PoolerRefusedError

HOSTILE = [
    "dbname=x host=evil",
    "postgresql://evil/x",
    "-c",
    "$(id)",
    "a/b?c=d&e#f",
    "%2e",
    "é🐘",
    " ",
    "a\nb",
    "'\"\\",
]
names = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20),
)
targets = st.builds(
    Target,
    host=st.sampled_from(["db.example.com", "/var/run/postgresql", "::1", "10.0.0.1", "/srv/a b%2f"]),
    port=st.integers(1, 65_535),
    user=names,
    database=names,
    password=st.none() | names,
    sslmode=st.sampled_from(["disable", "require", "verify-ca", "verify-full"]),
)


@pytest.mark.parametrize("password", ["p#w", "12/34", "p?w", "12#w", "[w"])
def test_a_password_that_ends_the_url_early_is_told_what_to_do_and_not_shown(password: str) -> None:
    with pytest.raises(InvalidUrlError) as caught:
        parse_url(f"postgresql://u:{password}@db.example/shop")
    assert "percent-encoded" in caught.value.hint
    assert password not in str(caught.value)


@given(target=targets)
def test_a_formatted_url_leads_back_to_its_target(target: Target) -> None:
    assert parse_url(format_url(target)) == target


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://me:p%40ss@db.example.com/shop",
            Target("db.example.com", 5432, "me", "shop", "p@ss"),
        ),
        ("postgres://me@h:6543", Target("h", 6543, "me", "me")),
        ("postgresql://me@[::1]:1/d?sslmode=disable", Target("::1", 1, "me", "d", sslmode="disable")),
        (
            "postgresql:///shop?host=/run/pg&port=5433&user=me",
            Target("/run/pg", 5433, "me", "shop"),
        ),
        ("postgresql://%2Frun%2Fpg/shop?user=me", Target("/run/pg", 5432, "me", "shop")),
        ("postgresql://h/a%2Fb?user=me&dbname=c", Target("h", 5432, "me", "c")),
    ],
)
def test_urls_have_libpqs_form(url: str, expected: Target) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://me@h/d",
        "host=h user=me",
        "postgresql://h/d",
        "postgresql:///d?user=me",
        "postgresql://me@h:0/d",
        "postgresql://me@h:65536/d",
        "postgresql://me@h:x/d",
        "postgresql://me@h/d?port=-1",
        "postgresql://me@h/d?sslmode=prefer",
        "postgresql://me@h/d?sslmode=allow",
        "postgresql://me@h/d?options=-csearch_path%3Dx",
        "postgresql://me@h/d?sslmode=require&sslmode=disable",
        "postgresql://me@h/d?service",
        "postgresql://me@h/d?sslrootcert=/no/such/file",
        "postgresql://me@[h/d",
    ],
)
def test_what_is_no_url_or_asks_for_more_is_refused_without_showing_secrets(url: str) -> None:
    with pytest.raises(InvalidUrlError) as caught:
        parse_url(url.replace("me@", "me:hidden-word@"))
    assert "hidden-word" not in str(caught.value)


def test_a_ca_bundle_is_read_and_the_systems_own_is_not_a_file(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("PEM")
    assert parse_url(f"postgresql://me@h/d?sslrootcert={bundle}").ca == "PEM"
    assert parse_url("postgresql://me@h/d?sslrootcert=system").ca is None


def test_a_secret_is_a_url_or_json_or_what_rds_manages() -> None:
    plain = Target("h", 5432, "me", "d", "word")
    url = "postgresql://me:word@h/d"
    rds = {"engine": "postgres", "host": "h", "port": 5432, "username": "me", "password": "word"}
    assert parse_secret(f" {url}\n") == plain
    assert parse_secret(json.dumps({"url": url})) == plain
    assert parse_secret(json.dumps({"url": url, "ca": "PEM"})) == replace(plain, ca="PEM")
    assert parse_secret(json.dumps(rds)) == replace(plain, database="postgres")
    assert parse_secret(json.dumps(rds | {"dbname": "d"})) == plain
    assert parse_secret(json.dumps(rds), database="d") == plain
    assert parse_secret(json.dumps(rds)).sslmode == "verify-full"


@pytest.mark.parametrize(
    "secret", ["{", "{}", '{"url": "x"}', '{"host": "h"}', '{"host":"h","username":"u"}', "word"]
)
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    with pytest.raises(InvalidUrlError):
        parse_secret(secret)


def test_no_representation_of_a_target_shows_its_password() -> None:
    target = Target("h", 5432, "me", "d", "hidden-word", ca="hidden-word")
    assert "hidden-word" not in f"{target} {target!r} {target.label}"


@pytest.mark.parametrize(
    ("host", "direct"),
    [
        ("ep-cool-name-123-pooler.eu-central-1.aws.neon.tech", "ep-cool-name-123.eu-central-1.aws.neon.tech"),
        ("aws-0-eu-central-1.pooler.supabase.com", "supabase.co"),
    ],
)
def test_poolers_are_refused_by_name_and_the_direct_host_is_told(host: str, direct: str) -> None:
    with pytest.raises(PoolerRefusedError, match=direct):
        refuse_pooler_host(Target(host, 5432, "me", "d"))


@pytest.mark.parametrize(
    "host", ["ep-cool-name-123.aws.neon.tech", "db.abc.supabase.co", "my-pooler.example.com"]
)
def test_direct_hosts_are_not(host: str) -> None:
    refuse_pooler_host(Target(host, 5432, "me", "d"))
