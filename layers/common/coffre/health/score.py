"""How healthy a database is: a pure function of what was found out about it.

A database starts with 100 points.  What takes points away:

===========================  ======  =====================================================================
code                         points  when
===========================  ======  =====================================================================
backup-missing               60      there is no completed backup that isn't known to be bad
backup-overdue               60      the newest one of these is older than the RPO
backup-unlike                45      the newest backup is of another database than the one before, or shrank
proof-failed                 45      the newest backup that has a verdict is ``failed``
backups-failed               10      older ones are
copy-overdue                 20      the newest backup whose copy is complete is older than the RPO
proof-missing                20      no backup was proven (nothing, where proofs are switched off)
proof-overdue                20      the newest proven one is older than the RPO (a day more if proven daily)
proof-sampled                10      in their place: a newer one, as recent as that, was proven by sample
(the cause's own code)       70      the database can't be reached
seal-key-unavailable         60      backups are sealed with a KMS key that can't be used (any more)
seal-broken                  60      what the catalogue says of a seal isn't what KMS wrapped
key-service-unavailable      10      KMS didn't answer whether backups can still be opened
endpoint-down                45      an endpoint of the application doesn't answer as it should
critical-table-missing       45      a critical table doesn't exist
critical-table-unreadable    45      a critical table exists, and the role can't read all of it
transaction-ids-low          15, 45  half, three quarters of the 2^31 transaction ids are used up
connections-high             5, 15   80 %, 95 % of ``max_connections`` are taken
slot-idle                    10      an unused replication slot keeps 1 GiB of WAL or more
question-unanswered          10      the server didn't answer everything
restore-slow                 10      a restore would take longer than the RTO, by those that were measured
transaction-long             5       a transaction has been open for more than an hour
===========================  ======  =====================================================================

What the server says takes 70 at most: a server that answers is never worse than one that doesn't.  A missing
backup, one that failed, one of another database, one whose key can't be used, a missing critical table, an
application that is down or a server that can't be reached leaves less than 60 points, which is where the
template's alarm begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from coffre.readable import first_of
from coffre.results import Finding

SERVER_POINTS = 70
BACKUP_POINTS = 60
UNLIKE_POINTS = 45
FAILED_POINTS = 45
FAILED_BEFORE_POINTS = 10
SEAL_POINTS = {"refuse": 60, "warn": 10, "info": 0}
PROOF_POINTS = 20
SAMPLE_POINTS = 10
COPY_POINTS = 20
ENDPOINT_POINTS = 45
TRANSACTION_IDS = 2**31
"""After so many transactions without a freeze, PostgreSQL stops writing.

Source: https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-WRAPAROUND
"""

_GIB = 2**30
_HOUR = 3600.0
_NAMED = 20

Lost = tuple[int, Finding]
"""Points that a finding takes away."""


@dataclass(frozen=True)
class Slot:
    """An unused replication slot and the bytes of WAL that the server keeps for it."""

    name: str
    retained_bytes: int


@dataclass(frozen=True)
class ServerFacts:
    """What a server said.  None: it didn't answer that question; ``unanswered`` says which and why.

    Attributes
    ----------
    longest_transaction:
        Seconds since the oldest open or prepared transaction of this database began; 0 without any.
    sees_others:
        Whether the role may see other roles' transactions.
    oldest_database, transaction_age:
        The database of this server that has waited longest for a freeze, and its age in transaction ids (or
        multixact ids, whichever is more).
    """

    version: str
    size_bytes: int | None = None
    tables: int | None = None
    missing_tables: tuple[str, ...] = ()
    unreadable_tables: tuple[str, ...] = ()
    connections: int | None = None
    max_connections: int | None = None
    idle_slots: tuple[Slot, ...] = ()
    longest_transaction: float | None = None
    sees_others: bool = True
    oldest_database: str = ""
    transaction_age: int | None = None
    unanswered: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Facts:
    """All that the score depends on.

    Attributes
    ----------
    server:
        What the server said, or why it can't be asked.
    backup_age, proof_age:
        Seconds since the newest backup that isn't known to be bad, and the newest proven one, began; None:
        there is none.
    rpo_hours:
        How old the newest backup may be.
    sample_age, sample:
        The same of the newest backup that was proven by sample, and how much of it was.
    prove:
        How often backups are proven.
    restore_seconds:
        What a restore of the newest backup takes by those that were measured; None: none was.
    rto_minutes:
        How long it may take; None: nobody said.
    endpoints:
        What is wrong with the application's endpoints.
    unlike:
        How the newest backup differs from the one before it; empty: it doesn't much.
    failed, failure:
        The newest backup that has a verdict, and the first reason, if it failed; empty: it didn't.
    failed_before:
        How many older ones did.
    copied:
        Whether the vault is replicated into a second one.
    copy_age:
        Seconds since the newest backup began whose copy there is complete; None: there is none.
    seals:
        What stands against the seals of the database's backups.
    """

    database: str
    server: ServerFacts | Finding
    backup_age: float | None
    proof_age: float | None
    rpo_hours: float
    sample_age: float | None = None
    sample: str = ""
    prove: Literal["every", "daily", "never"] = "every"
    restore_seconds: float | None = None
    rto_minutes: float | None = None
    endpoints: tuple[Finding, ...] = ()
    unlike: str = ""
    failed: str = ""
    failure: str = ""
    failed_before: int = 0
    copied: bool = False
    copy_age: float | None = None
    seals: tuple[Finding, ...] = ()

    @property
    def proof_hours(self) -> float | None:
        """How old the newest proof may be; None: nothing is to be proven."""
        if self.prove == "never":
            return None
        return self.rpo_hours + (24 if self.prove == "daily" else 0)


def score(facts: Facts) -> tuple[int, list[Finding]]:
    """The score, 0 to 100, and what took points away or should be known, gravest first.

    A worse fact never raises the score.
    """
    kept = [
        *_backup(facts),
        *_failed(facts),
        *_seals(facts),
        *_proof(facts),
        *_copy(facts),
        *_restore(facts),
        *_endpoints(facts),
    ]
    said = [(SERVER_POINTS, facts.server)] if isinstance(facts.server, Finding) else _server(facts.server)
    lost = sum(points for points, _ in kept) + min(SERVER_POINTS, sum(points for points, _ in said))
    ordered = sorted([*kept, *said], key=lambda entry: -entry[0])
    return max(0, 100 - lost), [finding for _, finding in ordered]


def _backup(facts: Facts) -> Iterator[Lost]:
    good = " that isn't known to be bad" if facts.failed or facts.failed_before else ""
    if facts.backup_age is None:
        message = f"there is no completed backup{good}"
        advice = "Start one with `coffre backup NAME`, and look at what its run reports."
        yield BACKUP_POINTS, _finding("refuse", "backup-missing", facts.database, message, advice)
    elif facts.backup_age > facts.rpo_hours * _HOUR:
        age = _hours(facts.backup_age)
        message = f"the newest backup{good} is {age} old; the RPO is {facts.rpo_hours:g} h"
        advice = "`coffre list NAME` shows what became of the runs since."
        yield BACKUP_POINTS, _finding("refuse", "backup-overdue", facts.database, message, advice)
    if facts.unlike:
        advice = (
            "Look at what the registered address leads to; `coffre list NAME` shows the backups before.  "
            "After a restore in its place it is meant, and the next backup ends this."
        )
        yield UNLIKE_POINTS, _finding("refuse", "backup-unlike", facts.database, facts.unlike, advice)


def _failed(facts: Facts) -> Iterator[Lost]:
    if facts.failed:
        message = f"{facts.failed} failed its verification: {facts.failure}"
        advice = "`coffre show NAME ID` says all of it, `coffre list NAME` which backups are proven."
        yield FAILED_POINTS, _finding("refuse", "proof-failed", facts.failed, message, advice)
    if facts.failed_before:
        count = facts.failed_before
        what = f"{count} older backups have" if count > 1 else "an older backup has"
        advice = "`coffre list NAME` names them; `coffre verify NAME ID` looks again, if the cause is gone."
        found = _finding("warn", "backups-failed", facts.database, f"{what} the verdict `failed`", advice)
        yield FAILED_BEFORE_POINTS, found.model_copy(update={"count": count})


def _seals(facts: Facts) -> Iterator[Lost]:
    worst = max((SEAL_POINTS[found.level] for found in facts.seals), default=0)
    for finding in facts.seals:
        points = SEAL_POINTS[finding.level]
        yield points if points == worst else 0, finding
        worst = 0 if points == worst else worst


def _proof(facts: Facts) -> Iterator[Lost]:
    limit = facts.proof_hours
    if limit is None:
        message = "backups are not proven, as the registration asks"
        yield 0, _finding("info", "proof-off", facts.database, message)
    elif facts.proof_age is not None and facts.proof_age <= limit * _HOUR:
        return
    elif facts.sample_age is not None and facts.sample_age <= limit * _HOUR:
        message = f"no backup that is recent enough is proven whole; the newest of a sample: {facts.sample}"
        advice = "It doesn't fit the proof's disk: raise ProveScratch, or restore it with `coffre drill`."
        yield SAMPLE_POINTS, _finding("warn", "proof-sampled", facts.database, message, advice)
    elif facts.proof_age is None:
        advice = "`coffre verify NAME latest` proves the newest backup, or says why it can't."
        yield PROOF_POINTS, _finding("warn", "proof-missing", facts.database, "no backup is proven", advice)
    else:
        message = (
            f"the newest proven backup is {_hours(facts.proof_age)} old; it should be {limit:g} h at most"
        )
        advice = "`coffre list NAME` shows the verdicts since, `coffre show NAME ID` their reasons."
        yield PROOF_POINTS, _finding("warn", "proof-overdue", facts.database, message, advice)


def _copy(facts: Facts) -> Iterator[Lost]:
    if not facts.copied or facts.backup_age is None:
        return
    if facts.copy_age is None or facts.copy_age > facts.rpo_hours * _HOUR:
        old = f"{_hours(facts.copy_age)} old" if facts.copy_age is not None else "not there at all"
        message = f"the newest backup with a complete copy is {old}; the RPO is {facts.rpo_hours:g} h"
        advice = "`coffre verify NAME latest --copy` says what is lacking in the second vault."
        yield COPY_POINTS, _finding("warn", "copy-overdue", facts.database, message, advice)


def _restore(facts: Facts) -> Iterator[Lost]:
    if facts.rto_minutes is None or facts.backup_age is None:
        return
    if facts.restore_seconds is None:
        message = "no restore was measured yet, so nobody knows whether the RTO can be met"
        advice = "`coffre verify NAME latest` restores and measures; so does a restore to a scratch server."
        yield 0, _finding("info", "restore-unmeasured", facts.database, message, advice)
    elif facts.restore_seconds > facts.rto_minutes * 60:
        message = (
            f"a restore takes {facts.restore_seconds / 60:.1f} min; the RTO is {facts.rto_minutes:g} min"
        )
        advice = "`coffre objectives NAME` shows what that rests on."
        yield 10, _finding("warn", "restore-slow", facts.database, message, advice)


def _endpoints(facts: Facts) -> Iterator[Lost]:
    taken = False
    for finding in facts.endpoints:
        counts = finding.level == "refuse" and not taken
        taken = taken or counts
        yield ENDPOINT_POINTS if counts else 0, finding


def _server(server: ServerFacts) -> list[Lost]:
    return [
        *_tables(server),
        *_transaction_ids(server),
        *_connections(server),
        *_slots(server),
        *_transactions(server),
        *_unanswered(server),
    ]


def _tables(server: ServerFacts) -> Iterator[Lost]:
    if server.missing_tables:
        names = first_of(server.missing_tables, _NAMED)
        advice = "If they were dropped by accident, restore the newest backup beside and look."
        yield 45, _finding("refuse", "critical-table-missing", names, f"{names}: not there", advice)
    if server.unreadable_tables:
        names = first_of(server.unreadable_tables, _NAMED)
        message = f"{names}: the role can't read all of it"
        advice = "Grant SELECT, and BYPASSRLS where row-level security is on."
        yield 45, _finding("refuse", "critical-table-unreadable", names, message, advice)


def _transaction_ids(server: ServerFacts) -> Iterator[Lost]:
    used = (server.transaction_age or 0) / TRANSACTION_IDS
    if used >= 0.5:
        grave = used >= 0.75
        message = f"{used:.0%} of the transaction ids are used since {server.oldest_database} was last frozen"
        advice = "Find what holds VACUUM back (old transactions, slots, prepared ones), then VACUUM FREEZE."
        level: Literal["refuse", "warn"] = "refuse" if grave else "warn"
        finding = _finding(level, "transaction-ids-low", server.oldest_database, message, advice)
        yield 45 if grave else 15, finding


def _connections(server: ServerFacts) -> Iterator[Lost]:
    if server.connections is None or not server.max_connections:
        return
    taken = server.connections / server.max_connections
    if taken >= 0.8:
        message = f"{server.connections} of {server.max_connections} connections are taken"
        advice = "A backup needs four; raise max_connections or use a pooler for the application."
        finding = _finding("warn", "connections-high", "server", message, advice)
        yield 15 if taken >= 0.95 else 5, finding


def _slots(server: ServerFacts) -> Iterator[Lost]:
    heavy = [slot for slot in server.idle_slots if slot.retained_bytes >= _GIB]
    if heavy:
        names = first_of(tuple(slot.name for slot in heavy), _NAMED)
        size = sum(slot.retained_bytes for slot in heavy) / _GIB
        message = f"nobody reads from {names}, for which up to {size:.1f} GiB of WAL are kept"
        advice = "Start the reader again, or drop the slot before the server's disk is full."
        yield 10, _finding("warn", "slot-idle", names, message, advice)


def _transactions(server: ServerFacts) -> Iterator[Lost]:
    if server.longest_transaction is not None and server.longest_transaction > _HOUR:
        message = f"a transaction has been open for {_hours(server.longest_transaction)}"
        advice = "It holds VACUUM back; pg_stat_activity and pg_prepared_xacts tell whose it is."
        yield 5, _finding("warn", "transaction-long", "server", message, advice)
    if not server.sees_others:
        message = "the role sees its own transactions only, so a long one of another role stays unseen"
        advice = "GRANT pg_read_all_stats to the role, if you want them watched."
        yield 0, _finding("info", "transactions-unseen", "server", message, advice)


def _unanswered(server: ServerFacts) -> Iterator[Lost]:
    for number, finding in enumerate(server.unanswered):
        yield 0 if number else 10, finding


def _finding(
    level: Literal["refuse", "warn", "info"], code: str, what: str, message: str, advice: str = ""
) -> Finding:
    return Finding(level=level, code=code, object=what, message=message, advice=advice)


def _hours(seconds: float) -> str:
    return f"{seconds / _HOUR:.1f} h"
