"""Is the bucket set up so that it can't lose a backup behind our back?"""

from __future__ import annotations

from typing import Any

from coffre.errors import VaultUnsafeError
from coffre.results import Finding
from coffre.vault.layout import TICKETS, Layout
from coffre.vault.store import ObjectStore

_EXPIRING = ("Expiration", "NoncurrentVersionExpiration", "Transitions", "NoncurrentVersionTransitions")


def check_safeguards(store: ObjectStore, layout: Layout) -> list[Finding]:
    """Refuse a vault whose settings could eat chunks; warn where they could only slow a restore.

    Raises
    ------
    VaultUnsafeError
        If versions aren't kept, or a lifecycle rule expires what this database's backups need.
    StoreUnavailableError
    """
    require_versions(store)
    findings: list[Finding] = []
    for rule in store.lifecycle_rules():
        if rule.get("Status") != "Enabled" or not _touches(rule, layout):
            continue
        name = str(rule.get("ID", "without a name"))
        if any("Expiration" in action for action in _EXPIRING if action in rule):
            raise VaultUnsafeError(f"the lifecycle rule {name} of {store.bucket} expires parts of backups")
        if any(action in rule for action in _EXPIRING):
            findings.append(
                Finding(
                    level="warn",
                    code="vault-transition",
                    object=name,
                    message=f"the lifecycle rule {name} moves parts of backups to another storage class",
                    advice="Archive classes must be thawed before a restore.",
                )
            )
    return findings


def require_versions(store: ObjectStore) -> None:
    """Refuse a bucket in which hiding an object, or writing it again, may destroy it.

    While versioning is suspended a DELETE without a version replaces the version ``null`` by its marker, and
    where it was never enabled there is nothing below a marker.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeletingObjectsfromVersioningSuspendedBuckets.html

    Raises
    ------
    VaultUnsafeError, StoreUnavailableError
    """
    if store.versioning() != "Enabled":
        raise VaultUnsafeError(f"the bucket {store.bucket} doesn't keep versions", "Enable versioning.")


def lock_finding(store: ObjectStore) -> Finding:
    """Whether anything in the bucket is immutable, as the bucket itself says it.

    Raises
    ------
    StoreUnavailableError
    """
    rule = store.lock_rule()
    if rule is None:
        message = f"the bucket {store.bucket} has no Object Lock: who may delete versions may delete backups"
        return Finding(level="info", code="not-immutable", object=store.bucket, message=message)
    message = f"Object Lock ({rule.mode}) keeps each backup as long as the tier that it is taken for"
    return Finding(level="info", code="object-lock", object=store.bucket, message=message)


def _touches(rule: dict[str, Any], layout: Layout) -> bool:
    """Whether a rule may apply to a key of this database."""
    where = rule.get("Filter") or {}
    prefix = str(where.get("Prefix") or where.get("And", {}).get("Prefix") or rule.get("Prefix") or "")
    ours = f"{layout.database}/"
    return not prefix.startswith(TICKETS) and (prefix.startswith(ours) or ours.startswith(prefix))
