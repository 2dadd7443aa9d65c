"""One holder of a snapshot: it opens or takes over, keeps it alive, and lets go when a successor has it.

A function lives for 15 minutes and a backup for hours.  So a snapshot passes from one holder to the next: the
successor imports it, locks every table at once or not at all, looks for what slipped in, exports, publishes;
only then the predecessor lets go (``docs/decisions/0021-state-machine.md``).  The state machine starts each.
Its event may come late or twice, so a holder takes nothing over before it has asked whether its state waits.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from coffre.backup.job import Job, Services
from coffre.backup.stall import StallGuard
from coffre.catalogue.ledger import Ledger, Progress
from coffre.databases.postgresql.snapshot import HeldSnapshot
from coffre.errors import (
    BackupOverError,
    CatalogueUnavailableError,
    CoffreError,
    ConnectionLostError,
    DeadlineExceededError,
    LockNotGrantedError,
    SnapshotLostError,
    SnapshotTooOldError,
    SourceUnreachableError,
    describe,
)
from coffre.ids import moment, utc_now
from coffre.notify.waiting import TaskToken
from coffre.observability import log
from coffre.results import HolderResult

TICK_SECONDS = 1.0
"""How often a holder looks at the ledger."""

BEAT_SECONDS = 10.0
"""How often it tells the state machine that it lives; the machine waits for four of them."""

BLIND_SECONDS = 160.0
"""How long it holds on without a word from the catalogue: workers wait for that nearly as long
(``docs/decisions/0029-outages.md``)."""

LINGER_SECONDS = 20.0
"""How long it holds on after its successor took over, for workers that are about to import its snapshot."""

Ended = Literal["handed-over", "over", "abandoned"]


@dataclass
class _Watch:
    """What a holder remembers from one look to the next; times on `time.monotonic`'s clock."""

    number: int
    ends: float
    pass_on_at: float
    beat_at: float = 0.0
    asked: bool = False
    leaves_at: float | None = None
    blind_since: float | None = None
    told: Progress | None = None
    stall: StallGuard = field(default_factory=StallGuard)

    def is_blind_for_too_long(self) -> bool:
        """Whether the catalogue, which didn't answer just now, hasn't for longer than is waited for it."""
        now = time.monotonic()
        self.blind_since = self.blind_since or now
        return now > min(self.blind_since + BLIND_SECONDS, self.ends)


def hold(
    job: Job, services: Services, token: TaskToken, *, seconds: float, pass_on_seconds: float
) -> HolderResult:
    """Hold the snapshot of a run until a successor has it, or nobody needs it any more.

    Parameters
    ----------
    token:
        Of the state that waits: it is told ``{"over": false}`` when a successor is due, ``{"over": true}``
        when all rows were read under locks that held, or what went wrong.
    seconds:
        How long this function may go on.
    pass_on_seconds:
        When a successor is asked for: early, because it may be throttled, start cold, or wait for a lock
        that somebody queues behind.

    Returns
    -------
    HolderResult
        Also if it failed: the state machine has been told.
    """
    ledger = services.catalogue.ledger(job.database, job.attempt)
    began = time.monotonic()
    watch = _Watch(0, began + seconds, began + min(pass_on_seconds, seconds / 2))
    try:
        ended = _hold(job, services, ledger, token, watch)
    except BackupOverError as error:
        log("a holder isn't needed", database=job.database, reason=error.message)
        ended = "abandoned"
    except Exception as error:
        fault = describe(error)
        if not isinstance(error, CatalogueUnavailableError):  # after that the machine starts another one
            with suppress(CatalogueUnavailableError):
                ledger.tell(fault["code"], fault["message"])
        token.fail(type(error).__name__, f"[{fault['code']}] {fault['message']}")
        log("a holder failed", database=job.database, code=fault["code"], reason=fault["message"])
        return HolderResult(holder=watch.number, ended="failed", code=fault["code"])
    return HolderResult(holder=watch.number, ended=ended)


def _hold(job: Job, services: Services, ledger: Ledger, token: TaskToken, watch: _Watch) -> Ended:
    _require_waiting(token, job)
    state = _needed(ledger, job)
    watch.number = state.holder + 1
    with _open(job, state, token, watch) as snapshot:
        _require_waiting(token, job)
        if not ledger.publish(watch.number, snapshot.id):  # another holder was faster, or all is over
            raise _over(job)
        snapshot.watch(waiters=job.registration.waiters)
        while True:
            time.sleep(TICK_SECONDS)
            try:
                ended = _look(job, services, ledger, token, snapshot, watch)
                watch.blind_since = None
            except CatalogueUnavailableError:
                if watch.is_blind_for_too_long():
                    raise
                ended = _hold_on(token, snapshot, watch)
            if ended is not None:
                return ended


def _hold_on(token: TaskToken, snapshot: HeldSnapshot, watch: _Watch) -> Ended | None:
    """Keep the snapshot while the catalogue doesn't answer: hours of reading rest on it."""
    snapshot.check()
    with suppress(CatalogueUnavailableError):
        return None if watch.asked or _beat(token, watch) else "abandoned"
    return None


def _needed(ledger: Ledger, job: Job) -> Progress:
    state = ledger.read()
    if state is None or state.state not in ("open", "released"):
        raise _over(job)
    job.require_own_version(state)
    return state


def _require_waiting(token: TaskToken, job: Job) -> None:
    """Raise if nobody waits for this holder: another may have been started in its place."""
    if not token.heartbeat():
        raise _over(job)


def _over(job: Job) -> BackupOverError:
    return BackupOverError(f"nobody needs a snapshot for {job.id} of {job.database} any more")


def _open(job: Job, state: Progress, token: TaskToken, watch: _Watch) -> HeldSnapshot:
    """A new snapshot, or the predecessor's, as long as he can be expected to hold on.

    What stands in the way of a successor may be gone in a moment: somebody's lock, a server that has no
    connection left, a network that is slow.  The predecessor's end isn't: it took the snapshot with it.
    """
    predecessor = state.snapshot or None
    while True:
        seconds = max(1.0, watch.ends - time.monotonic())
        try:
            return HeldSnapshot(
                job.target, seconds=seconds, application=job.application, predecessor=predecessor
            )
        except SnapshotLostError:
            raise
        except (LockNotGrantedError, SourceUnreachableError, ConnectionLostError):
            if predecessor is None or time.monotonic() > watch.pass_on_at:
                raise
            if not _beat(token, watch):
                raise _over(job) from None
            time.sleep(TICK_SECONDS)


def _beat(token: TaskToken, watch: _Watch) -> bool:
    """Say now and then that this holder lives; False if nobody waits for it any more."""
    now = time.monotonic()
    if now < watch.beat_at:
        return True
    watch.beat_at = now + BEAT_SECONDS
    return token.heartbeat()


def _look(
    job: Job, services: Services, ledger: Ledger, token: TaskToken, snapshot: HeldSnapshot, watch: _Watch
) -> Ended | None:
    """Look once at everything that may end a holder's life; how it ended, or None."""
    state = ledger.read()
    if state is None or state.state in ("failed", "committed"):
        return "abandoned"
    if state.holder > watch.number:
        return _linger(state, snapshot, watch)
    snapshot.check()
    if state.state == "released" and not watch.asked:  # else the successor says so, once it has taken over
        snapshot.confirm()
        return "over" if token.succeed({"over": True}) else "abandoned"
    _refuse_more(job, state)
    watch.stall.check(job, ledger, state)
    _tell_progress(job, services, state, watch)
    now = time.monotonic()
    if not watch.asked and now >= watch.pass_on_at:
        watch.asked = True
        return None if token.succeed({"over": False}) else "abandoned"
    if not watch.asked and not _beat(token, watch):
        return "abandoned"
    if now >= watch.ends:
        raise SnapshotLostError(f"no successor took over the snapshot of {job.id} of {job.database}")
    return None


def _linger(state: Progress, snapshot: HeldSnapshot, watch: _Watch) -> Ended | None:
    """The successor has it: what happens to this holder from now on ends no backup."""
    now = time.monotonic()
    if watch.leaves_at is None:
        watch.leaves_at = min(now + LINGER_SECONDS, watch.ends)
    try:
        snapshot.check()
    except CoffreError:
        return "handed-over"
    return "handed-over" if state.state == "released" or now >= watch.leaves_at else None


def _refuse_more(job: Job, state: Progress) -> None:
    """The limits of the whole backup."""
    now, limits = utc_now(), job.registration.limits
    if now > moment(state.deadline):
        raise DeadlineExceededError(f"the backup {job.id} of {job.database} came to its deadline")
    held = now - moment(state.started)
    if limits.snapshot_minutes is not None and held > timedelta(minutes=limits.snapshot_minutes):
        raise SnapshotTooOldError(
            f"the snapshot of {job.id} of {job.database} is older than {limits.snapshot_minutes} minutes"
        )


def _tell_progress(job: Job, services: Services, state: Progress, watch: _Watch) -> None:
    if state != watch.told and state.batches:
        watch.told = state
        services.catalogue.progress(job.database, job.id, rows=state.rows, done=state.done, total=state.total)
