"""What a stolen role can and can't do, by the policies, evaluated as IAM does (`docs/threat-model.md`)."""

from __future__ import annotations

import itertools

import pytest

from tests.conftest import ROOT
from tests.support.iam import Context, allowing, denied_by
from tests.support.policies import SEAL_KEY, VERBS, Policies

BUCKET = "arn:aws:s3:::vault"
BACKUP = f"{BUCKET}/shop/backups/20261101T030000Z-daily-000000"
MANIFEST, CHUNK = f"{BACKUP}/manifest.json", f"{BUCKET}/shop/chunks/00/{'0' * 64}"
PROOF, TICKET = f"{BUCKET}/shop/proofs/20261101T030000Z-daily-000000/t.json", f"{BUCKET}/_tickets/x"
REPORT = f"{BUCKET}/shop/reports/2026-11.json"
SECRETS = "arn:aws:secretsmanager:us-east-1:123456789012:secret:coffre/local"
DATABASE_SECRET, TARGET_SECRET = f"{SECRETS}/databases/shop-AbCdEf", f"{SECRETS}/targets/t-AbCdEf"
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/catalogue"
TLS = {"aws:securetransport": "true"}
NEW = {**TLS, "s3:objectcreationoperation": "true", "s3:if-none-match": "*"}
OVER = {**TLS, "s3:objectcreationoperation": "true"}
POLICIES = Policies("vault", "catalogue")


def principal(verb: str) -> Context:
    """Who asks."""
    return {"aws:principalarn": f"arn of {verb.capitalize()}Role"}


def can(verb: str, action: str, resource: str, context: Context = TLS) -> bool:
    """Whether a function's role and the bucket's policy let it do something."""
    asked = {**context, **principal(verb)}
    by_role = list(allowing(POLICIES.role(verb), action, resource, asked))
    return bool(by_role) and not denied_by(POLICIES.bucket(), action, resource, asked)


def denied(verb: str, action: str, resource: str, context: Context = TLS) -> set[str]:
    """What of the bucket's policy denies it, whatever the role is allowed."""
    return denied_by(POLICIES.bucket(), action, resource, {**context, **principal(verb)})


def test_each_role_writes_new_objects_of_its_own_kind_and_no_others() -> None:
    places = {"manifest": MANIFEST, "chunk": CHUNK, "proof": PROOF, "ticket": TICKET, "report": REPORT}
    writes = {
        verb: {name for name, key in places.items() if can(verb, "s3:PutObject", key, NEW)} for verb in VERBS
    }
    assert writes == {
        "backup": {"manifest", "chunk"},
        "capture": {"manifest", "chunk"},
        "verify": {"proof", "ticket"},
        "report": {"report"},
        **{verb: set() for verb in ("hold", "machine", "load", "prove", "restore", "rotate", "health")},
    }


@pytest.mark.parametrize("who", [*VERBS, "administrator"])
def test_nobody_overwrites_an_object(who: str) -> None:
    for key in (MANIFEST, CHUNK, PROOF, REPORT):
        assert "OnlyNewObjects" in denied(who, "s3:PutObject", key, OVER)


def test_only_rotate_deletes_and_no_evidence() -> None:
    for verb, action in itertools.product(VERBS, ("s3:DeleteObject", "s3:DeleteObjectVersion")):
        deletes = [key for key in (MANIFEST, CHUNK, PROOF, TICKET, REPORT) if can(verb, action, key)]
        assert deletes == ([MANIFEST, CHUNK] if verb == "rotate" else [])
        if verb != "rotate":
            assert denied(verb, action, CHUNK), "not even if its role is allowed to one day"
    assert denied("administrator", "s3:DeleteObjectVersion", CHUNK) == {"OnlyRotateDeletes"}


SAFEGUARDS = [
    "s3:BypassGovernanceRetention",
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketPolicy",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutObjectAcl",
    "s3:PutReplicationConfiguration",
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("action", SAFEGUARDS)
def test_no_role_touches_the_vaults_safeguards_whatever_is_attached_to_it(verb: str, action: str) -> None:
    for resource in (BUCKET, CHUNK):
        assert not can(verb, action, resource)
        assert "FunctionsOnlyUseObjects" in denied(verb, action, resource)


@pytest.mark.parametrize("who", [*VERBS, "administrator"])
def test_nobody_speaks_without_tls_or_writes_what_nobody_else_can_read(who: str) -> None:
    plain = {**NEW, "aws:securetransport": "false"}
    assert "OnlyTls" in denied(who, "s3:GetObject", CHUNK, plain)
    theirs = {**NEW, "s3:x-amz-server-side-encryption-customer-algorithm": "AES256"}
    assert "NoKeysOfTheCaller" in denied(who, "s3:PutObject", CHUNK, theirs)
    foreign = {**NEW, "s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:another"}
    assert "NoOtherKmsKey" in denied(who, "s3:PutObject", CHUNK, foreign)
    ours = {**NEW, "s3:x-amz-server-side-encryption-aws-kms-key-id": "the vault's key"}
    assert "NoOtherKmsKey" not in denied(who, "s3:PutObject", CHUNK, ours)


def test_who_reads_backups_and_who_reads_credentials() -> None:
    rows = {verb for verb in VERBS if can(verb, "s3:GetObject", CHUNK)}
    credentials = {verb for verb in VERBS if can(verb, "secretsmanager:GetSecretValue", DATABASE_SECRET)}
    targets = {verb for verb in VERBS if can(verb, "secretsmanager:GetSecretValue", TARGET_SECRET)}
    assert rows == {"backup", "capture", "load", "verify", "restore", "rotate"}
    assert credentials == {"backup", "hold", "capture", "load", "restore", "health"}
    assert targets == {"restore", "load"}


def test_who_reads_what_backups_name_also_finds_it_behind_a_marker_and_nobody_else() -> None:
    """A part that is damaged or hidden is looked for among its versions; a refusal there ends the run."""
    behind = {verb for verb in VERBS if can(verb, "s3:GetObjectVersion", MANIFEST)}
    listing = {verb for verb in VERBS if can(verb, "s3:ListBucketVersions", BUCKET)}
    assert behind == listing == {"backup", "load", "verify", "restore", "rotate"}


def test_nobody_deletes_from_the_catalogue() -> None:
    for verb, action in itertools.product(VERBS, ("DeleteItem", "DeleteTable", "UpdateTable", "Scan")):
        assert not can(verb, f"dynamodb:{action}", TABLE)
    assert {verb for verb in VERBS if can(verb, "dynamodb:UpdateItem", TABLE)} == {
        "backup",
        "hold",
        "capture",
        "load",
        "verify",
        "restore",
        "rotate",
    }


def test_a_role_uses_the_key_through_the_store_only() -> None:
    through = {"kms:viaservice": "s3.us-east-1.amazonaws.com"}
    for verb in VERBS:
        assert not can(verb, "kms:Decrypt", "the vault's key")
        for action in ("kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:PutKeyPolicy", "kms:CreateGrant"):
            assert not can(verb, action, "the vault's key", through)
    assert {v for v in VERBS if can(v, "kms:Decrypt", "the vault's key", through)} == {
        "backup",
        "capture",
        "machine",
        "load",
        "verify",
        "report",
        "restore",
        "rotate",
    }


def test_who_may_use_the_keys_of_sealed_backups() -> None:
    ours = {"kms:encryptioncontext:coffre:vault": "vault"}
    openers = {verb for verb in VERBS if can(verb, "kms:Decrypt", SEAL_KEY, ours)}
    makers = {verb for verb in VERBS if can(verb, "kms:GenerateDataKey", SEAL_KEY, ours)}
    assert (openers, makers) == (
        {"backup", "capture", "verify", "restore", "load", "health"},
        {"backup"},
    )
    elsewhere = {"kms:encryptioncontext:coffre:vault": "another"}
    for verb in VERBS:
        assert not can(verb, "kms:Decrypt", SEAL_KEY), "only what Coffre wrapped"
        assert not can(verb, "kms:GenerateDataKey", SEAL_KEY, elsewhere)
        for action in ("Encrypt", "ScheduleKeyDeletion", "DisableKey", "PutKeyPolicy", "CreateGrant"):
            assert not can(verb, f"kms:{action}", SEAL_KEY, ours)


def table() -> dict[str, list[str]]:
    """The table of `docs/threat-model.md`: the cells by role."""
    text = (ROOT / "docs" / "threat-model.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line
    ]
    return {row[0]: row[1:] for row in rows if row[0] in VERBS}


def test_the_threat_model_says_what_the_template_does() -> None:
    names = {verb: "prove-16" if verb == "prove" else verb for verb in VERBS}
    here = "arn:aws:lambda:us-east-1:123456789012:function:local"
    functions = {verb: f"{here}-{name}" for verb, name in names.items()}

    def row(verb: str) -> list[str]:
        does = [
            can(verb, "s3:GetObject", CHUNK),
            can(verb, "s3:PutObject", MANIFEST, NEW),
            can(verb, "s3:PutObject", PROOF, NEW),
            can(verb, "s3:DeleteObjectVersion", CHUNK),
            can(verb, "secretsmanager:GetSecretValue", DATABASE_SECRET),
            can(verb, "secretsmanager:GetSecretValue", TARGET_SECRET),
            can(verb, "dynamodb:UpdateItem", TABLE),
        ]
        calls = [name for name, arn in functions.items() if can(verb, "lambda:InvokeFunction", arn)]
        return [*("yes" if one else "no" for one in does), ", ".join(calls) or "nothing"]

    assert table() == {verb: row(verb) for verb in VERBS}
