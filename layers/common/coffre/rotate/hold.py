"""Holds: keep a backup whatever the policy says, until a date or until it is released."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from heapq import merge

from coffre.errors import DeadlineExceededError, InvalidEventError, NoObjectLockError, UnknownBackupError
from coffre.events.rotate import HoldRequest
from coffre.results import HoldResult
from coffre.rotate.inventory import Horizon, take_inventory
from coffre.rotate.promote import objects_of
from coffre.rotate.run import Services
from coffre.vault.layout import Layout
from coffre.vault.notes import Hold, active_holds, describe_hold, list_notes, time_after, write_note
from coffre.vault.reader import load_manifest, meant_backup
from coffre.vault.retention import set_legal_hold
from coffre.vault.store import ObjectStore


def run(request: HoldRequest, services: Services, *, seconds: float) -> HoldResult:
    """Hold a backup, or release all its holds.  It can be repeated.

    Parameters
    ----------
    seconds:
        How long this may take.  A legal hold that is cut short is finished by asking again.

    Raises
    ------
    InvalidEventError
        If the hold would have ended already.
    NoObjectLockError
        If a legal hold is asked of a bucket that can't hold anything.
    UnknownBackupError
        If there is no such backup, or a rotation deleted it at this moment.
    CoffreError
    """
    meant = meant_backup(services.store, request.database, request.backup_id)
    manifest, _ = load_manifest(services.store, request.database, meant)
    layout, check = Layout(request.database), _deadline_check(request, seconds)
    change = _hold if request.action == "hold" else _release
    objects = change(request, services, layout, manifest.id, check)
    if services.store.head(layout.manifest(manifest.id)) is None:  # see coffre.rotate.manifests
        raise UnknownBackupError(
            f"a rotation deleted {manifest.id} of {request.database} at this moment",
            "Its hold stands: a rotation brings it back." if request.action == "hold" else None,
        )
    standing = active_holds(services.store, list_notes(services.store, layout, manifest.id), services.now())
    return HoldResult(
        database=request.database,
        backup_id=manifest.id,
        holds=[describe_hold(note, hold) for note, hold in standing],
        objects=objects,
    )


def _hold(
    request: HoldRequest, services: Services, layout: Layout, backup_id: str, check: Callable[[], None]
) -> int:
    if request.until is not None and request.until <= services.now():
        raise InvalidEventError(f"a hold until {request.until:%Y-%m-%dT%H:%M:%SZ} would have ended already")
    if request.legal and services.store.lock_rule() is None:
        raise NoObjectLockError(f"the bucket {services.store.bucket} has no Object Lock")
    body = Hold(reason=request.reason, until=request.until, legal=request.legal)
    services.catalogue.audit(request.database, "hold", backup_id, _details(body))
    # The note first: it keeps rotation away while objects are held one by one.
    written = _after_others(services, layout, backup_id)
    write_note(services.store, layout, backup_id, "hold", body, written)
    if not request.legal:
        return 0
    held = set_legal_hold(services.store, objects_of(services.store, layout, backup_id), check, on=True)
    return held + set_legal_hold(services.store, [layout.manifest(backup_id)], check, on=True)


def _release(
    request: HoldRequest, services: Services, layout: Layout, backup_id: str, check: Callable[[], None]
) -> int:
    store, moment = services.store, services.now()
    written = _after_others(services, layout, backup_id)  # what is held from here on isn't released
    services.catalogue.audit(request.database, "release", backup_id, {"reason": request.reason})
    objects = 0
    if store.lock_rule() is not None:
        horizon = Horizon.at(moment, timedelta(seconds=services.max_run_seconds), None)
        live = take_inventory(store, layout, horizon).live
        others = [
            backup.backup_id
            for backup in live
            if backup.backup_id != backup_id
            and any(hold.legal for _, hold in active_holds(store, backup.notes, moment))
        ]
        objects = set_legal_hold(store, [layout.manifest(backup_id)], check, on=False)
        loose = _not_in(
            objects_of(store, layout, backup_id),
            merge(*(_chunks(store, layout, backup) for backup in others)),
            layout,
        )
        objects += set_legal_hold(store, loose, check, on=False)
    # The note last: until all is done the backup counts as held.
    write_note(store, layout, backup_id, "release", Hold(reason=request.reason), written)
    return objects


def _after_others(services: Services, layout: Layout, backup_id: str) -> datetime:
    """The time of a note that counts after all that are there."""
    notes = list_notes(services.store, layout, backup_id)
    return time_after((note.time for note in notes), services.now())


def _chunks(store: ObjectStore, layout: Layout, backup_id: str) -> Iterator[str]:
    """The keys of a backup's chunks, ascending."""
    return (key for key in objects_of(store, layout, backup_id) if key.startswith(layout.chunks))


def _not_in(keys: Iterable[str], others: Iterator[str], layout: Layout) -> Iterator[str]:
    """Of these keys, whose chunks ascend, those that aren't among others that ascend as well."""
    other = next(others, None)
    for key in keys:
        while key.startswith(layout.chunks) and other is not None and other < key:
            other = next(others, None)
        if key != other:
            yield key


def _details(hold: Hold) -> dict[str, str]:
    return {
        "reason": hold.reason,
        "until": hold.until.isoformat() if hold.until else "",
        "legal": "yes" if hold.legal else "",
    }


def _deadline_check(request: HoldRequest, seconds: float) -> Callable[[], None]:
    ends = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > ends:
            raise DeadlineExceededError(
                f"the {request.action} of {request.database} {request.backup_id} ran out of time",
                "What it did stays done; ask again and it goes on.",
            )

    return check
