"""`coffre backup`, `list`, `show` and `verify`."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre_cli.errors import UsageError
from coffre_cli.options import Backup, Database, Json, Region, StackName, Status, Type, Wait
from coffre_cli.output import emit
from coffre_cli.stack import Stack, find_stack

if TYPE_CHECKING:
    from coffre.catalogue.entries import BackupEntry, RehearsalEntry
    from coffre.vault.manifest import Manifest

VERDICT_EXITS = {"proven": 0, "upgrade-ready": 0, "failed": 1, "upgrade-blocked": 1, "inconclusive": 3}
_GRAVEST = (1, 3, 0)
SHOWN_REHEARSALS = 5


def backup(
    name: Database,
    kind: Annotated[Type, typer.Option("--type", help="What the backup is called.")] = "manual",
    reason: Annotated[str, typer.Option(help="Why it is taken; kept in its manifest.")] = "",
    wait: Wait = False,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Back up a database now.

    Its verification then starts by itself.
    """
    from coffre.ids import backup_id
    from coffre_cli import invoke

    found = find_stack(stack, region)
    scheduled = datetime.now(UTC).replace(microsecond=0)
    identifier = backup_id(name, kind, scheduled)
    event = {"type": kind, "scheduled_time": scheduled.isoformat(), "database": name, "reason": reason}
    if wait:
        _wait_for_backup(found, identifier, event, as_json)
        return
    found.registry().get(name)
    invoke.start(found, "backup", event)
    document = {"database": name, "backup_id": identifier, "status": "started"}
    emit(document, as_json, f"{identifier} is started; `coffre status {name}` follows it")


def _wait_for_backup(stack: Stack, identifier: str, event: dict[str, Any], as_json: bool) -> None:
    from coffre.results import BackupResult
    from coffre_cli import invoke, show_backups
    from coffre_cli.following import follow
    from coffre_cli.progress import backup_reader, bar

    name, catalogue = event["database"], stack.catalogue()
    with bar(f"backup of {name}", backup_reader(catalogue, name, identifier)) as tick:
        answer = invoke.call(stack, "backup", event, tick)
        if answer["status"] == "started":
            answer = {**answer, **follow(catalogue, name, identifier, tick)}
    emit(answer, as_json, show_backups.backup(BackupResult.model_validate(answer)))


def list_backups(
    name: Database,
    kind: Annotated[Type | None, typer.Option("--type", help="Only of this type.")] = None,
    status: Annotated[
        Status | None, typer.Option(help="Only with this status; without it, all but deleted ones.")
    ] = None,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """List the backups of a database, newest first."""
    from coffre_cli import show_backups

    found = find_stack(stack, region)
    entries = list(found.catalogue().backups(name, kind=kind, status=status))
    if status is None:
        entries = [entry for entry in entries if entry.status != "deleted"]
    if not entries:
        found.registry().get(name)
    document = {"database": name, "backups": [_document(entry) for entry in entries]}
    none = f"{name} has no backup; `coffre backup {name} --wait` takes one"
    filtered = kind is not None or status is not None
    emit(document, as_json, show_backups.backups(entries, "no backup fits" if filtered else none))


def show_backup(
    name: Database, reference: Backup, stack: StackName = None, region: Region = None, as_json: Json = False
) -> None:
    """Show everything about one backup.

    The exit code is 0 whatever its verdict: `coffre verify` judges.
    """
    from coffre.errors import UnknownBackupError
    from coffre.vault.evidence import newest_evidence
    from coffre.vault.reader import load_manifest
    from coffre_cli import show_backups

    found = find_stack(stack, region)
    identifier = _resolve(found, name, reference)
    entry = found.catalogue().backup(name, identifier)
    manifest, root_hash, evidence = None, "", None
    try:
        manifest, root_hash = load_manifest(found.store(), name, identifier)
        evidence = newest_evidence(found.store(), name, identifier, root_hash)
        if evidence is not None and manifest.seal is not None:
            evidence = None  # what was compared is sealed; the verdict stands in the catalogue
    except UnknownBackupError:
        if entry is None:
            found.registry().get(name)
            raise
    document = {**(_document(entry) if entry else {"database": name, "backup_id": identifier})}
    protection = _protection(found, name, identifier)
    document |= protection
    document |= {"root_hash": root_hash or document.get("root_hash"), "manifest": _summary(manifest)}
    document["compared"] = evidence.compared.model_dump() if evidence else None
    document["sample"] = evidence.sample.model_dump() if evidence and evidence.sample else None
    rehearsals = _rehearsals(found, name, identifier, document["root_hash"])
    document["rehearsals"] = [_document(one) for one in rehearsals]
    told = show_backups.one_backup(entry, manifest, root_hash, protection, evidence, rehearsals)
    emit(document, as_json, told)


def _rehearsals(stack: Stack, name: str, identifier: str, root_hash: str | None) -> list[RehearsalEntry]:
    """The newest upgrades that were rehearsed with exactly this backup."""
    kept = stack.catalogue().rehearsals(name)
    same = (one for one in kept if (one.backup_id, one.root_hash) == (identifier, root_hash))
    return list(islice(same, SHOWN_REHEARSALS))


def _protection(stack: Stack, name: str, identifier: str) -> dict[str, Any]:
    """What keeps a backup from being deleted: holds, and what the store itself says of its lock."""
    from coffre.ids import utc_now
    from coffre.vault.layout import Layout
    from coffre.vault.notes import active_holds, describe_hold, list_notes
    from coffre_cli.show_backups import immutability

    store, layout = stack.store(), Layout(name)
    rule, info = store.lock_rule(), store.head(layout.manifest(identifier))
    until = info.locked_until if info else None
    legal_hold = info.legal_hold if info else False
    standing = active_holds(store, list_notes(store, layout, identifier), utc_now())
    return {
        "holds": [describe_hold(note, hold) for note, hold in standing],
        "object_lock": rule.mode if rule else None,
        "locked_until": until.isoformat() if until else None,
        "legal_hold": legal_hold,
        "immutable": immutability(rule, until, legal_hold=legal_hold, bucket=stack.bucket),
    }


def verify(
    name: Database,
    reference: Backup,
    upgrade_to: Annotated[
        int | None,
        typer.Option(
            metavar="MAJOR",
            min=14,
            max=18,
            help="Rehearse an upgrade: restore it on this major version, too.",
        ),
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Check instead whether the copy in the second vault is complete.")
    ] = False,
    whole: Annotated[
        bool, typer.Option("--read", help="With --copy: read and hash everything in the copy, too.")
    ] = False,
    wait: Wait = False,
    stack: StackName = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Read a backup back and prove it by a restore, or check its copy.

    The exit code is 0 if the backup is proven, 1 if it failed, 3 if the verdict is inconclusive, as it is of
    a database that is too large for the proof's disk, from which a sample of the tables is restored.  With
    --upgrade-to it is 0 only if the backup is upgrade-ready as well, and 1 if something stands in the way.
    With --copy, which always waits, it is 0 if the copy is complete, 1 if it is incomplete, 3 if objects are
    still being replicated.
    """
    if whole and not copy:
        raise UsageError("--read is for --copy; without it a verification reads everything anyway")
    if copy and upgrade_to is not None:
        raise UsageError("--copy looks at the second vault and restores nothing: leave out --upgrade-to")
    if copy:
        _verify_copy(find_stack(stack, region), name, reference, read=whole, as_json=as_json)
        return
    from coffre.results import VerifyResult
    from coffre_cli import invoke, show_backups
    from coffre_cli.progress import bar, run_reader

    found = find_stack(stack, region)
    event: dict[str, Any] = {"database": name, "backup_id": reference}
    if upgrade_to is not None:
        event |= {"backup_id": _checked_upgrade(found, name, reference, upgrade_to), "upgrade_to": upgrade_to}
    elif not wait:
        event["backup_id"] = _existing(found, name, reference)
    if not wait:
        invoke.start(found, "verify", event)
        told = f"the verification is started; `coffre show {name} {event['backup_id']}` tells its verdict"
        emit({**event, "status": "started"}, as_json, told)
        return
    read = run_reader(found, name, "verify", event["backup_id"])
    with bar(f"verification of {name}", read) as tick:
        answer = invoke.call(found, "verify", event, tick)
    result = VerifyResult.model_validate(answer)
    emit(answer, as_json, show_backups.verification(result))
    verdicts = [result.verdict, *([result.upgrade.verdict] if result.upgrade else [])]
    raise typer.Exit(min((VERDICT_EXITS[verdict] for verdict in verdicts), key=_GRAVEST.index))


def _checked_upgrade(stack: Stack, name: str, reference: str, major: int) -> str:
    """The id of a backup that exists and comes from an older major version.

    Raises
    ------
    NoUpgradeError, UnknownBackupError, UnknownDatabaseError
    """
    from coffre.errors import UnknownBackupError
    from coffre.vault.reader import load_manifest
    from coffre.verify.rehearsal import check_upgrade

    try:
        manifest, _ = load_manifest(stack.store(), name, _resolve(stack, name, reference))
    except UnknownBackupError:
        stack.registry().get(name)
        raise
    check_upgrade(manifest, major)
    return manifest.id


def _verify_copy(stack: Stack, name: str, reference: str, *, read: bool, as_json: bool) -> None:
    """Check a copy, and end with the exit code of what was found."""
    from coffre.results import CopiesResult
    from coffre_cli import invoke, show_backups
    from coffre_cli.progress import spinner

    event = {"action": "copy", "database": name, "backup_id": reference, "read": read}
    with spinner(f"looking at the copy of {name} {reference}"):
        answer = invoke.call(stack, "verify", event)
    (result,) = CopiesResult.model_validate(answer).copies
    emit(result.answer(), as_json, show_backups.copy(result))
    raise typer.Exit({"complete": 0, "incomplete": 1, "pending": 3}[result.verdict])


def _resolve(stack: Stack, name: str, reference: str) -> str:
    """An id; `latest` is the newest backup that isn't a safety backup.

    Raises
    ------
    UnknownBackupError, UnknownDatabaseError
    """
    from coffre.errors import UnknownBackupError
    from coffre.vault.reader import meant_backup

    try:
        return meant_backup(stack.store(), name, reference)
    except UnknownBackupError:
        stack.registry().get(name)
        raise


def _existing(stack: Stack, name: str, reference: str) -> str:
    """The id of a backup that exists, for calls whose failure nobody would see.

    Raises
    ------
    UnknownBackupError, UnknownDatabaseError
    """
    from coffre.errors import UnknownBackupError
    from coffre.vault.layout import Layout

    identifier = _resolve(stack, name, reference)
    if stack.store().head(Layout(name).manifest(identifier)) is None:
        stack.registry().get(name)
        raise UnknownBackupError(f"{name} has no backup {identifier}")
    return identifier


def _document(entry: BackupEntry | RehearsalEntry) -> dict[str, Any]:
    return {**vars(entry), "reasons": [reason.model_dump(mode="json") for reason in entry.reasons]}


def _summary(manifest: Manifest | None) -> dict[str, Any] | None:
    """The manifest without its lists of files."""
    if manifest is None:
        return None
    left_out = {"files", "parts", "refs", "settings", "sealed"}
    return manifest.model_dump(mode="json", by_alias=True, exclude=left_out)
