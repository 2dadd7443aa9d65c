"""What a backup would do now, how long it would take, and what it would cost: `coffre plan`."""

from __future__ import annotations

from coffre.backup.estimate import UNMEASURED, choose, forecast
from coffre.backup.job import Services
from coffre.backup.plan import Batch, plan_batches
from coffre.catalogue.entries import Rate
from coffre.databases.postgresql import preflight
from coffre.databases.postgresql.activity import dead_rows_a_second, lockable_tables, oldest_snapshot
from coffre.databases.postgresql.connection import Session, open_session
from coffre.databases.postgresql.inventory import take_inventory
from coffre.databases.postgresql.target import Target
from coffre.databases.registration import Registration
from coffre.prices import load_prices
from coffre.results import BackupPlan, PlannedBatch, SnapshotCost
from coffre.workers import workers_for

LISTED, NAMED = 50, 5
"""Batches that a plan lists, and relations that it names of each."""

PLAN_SECONDS = 120.0


def make_plan(
    target: Target, registration: Registration, services: Services, database: str, *, seconds: float
) -> BackupPlan:
    """Look at the source, and say what a backup of it would do.

    Parameters
    ----------
    seconds:
        What one function has for a backup.

    Raises
    ------
    CoffreError
        If a backup would be refused, or the source can't be reached.
    """
    rate = services.catalogue.rate(database) or UNMEASURED
    with open_session(target, seconds=min(seconds, PLAN_SECONDS)) as session:
        preflight.raise_refusal(preflight.inspect(session), target.label)
        session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        inventory = take_inventory(session)
        batches = plan_batches(inventory.relations)
        size = sum(batch.size for batch in batches)
        machine = services.start_machine is not None
        choice = choose(size, rate, seconds, runs=registration.runs, machine=machine)
        alone = workers_for(size, len(inventory.relations))
        workers = registration.concurrency if choice.where == "machine" else alone
        prices = load_prices()
        expected = forecast(choice.where, batches, rate, workers=workers, prices=prices)
        return BackupPlan(
            database=database,
            where=choice.where,
            reason=choice.reason,
            relations=sum(found.relation.is_table for found in inventory.relations),
            bytes=size,
            batches=len(batches),
            listed=[_listed(batch, rate) for batch in batches[:LISTED]],
            workers=workers,
            seconds=expected.seconds,
            rate=rate.bytes_per_second,
            measured=rate.measured,
            requests=expected.requests,
            dollars=expected.dollars,
            storage_dollars_month=expected.storage_dollars_month,
            prices_as_of=prices.as_of,
            snapshot=_snapshot_cost(session, expected.seconds),
        )


def _listed(batch: Batch, rate: Rate) -> PlannedBatch:
    names = [item.relation.label for item in batch.items]
    return PlannedBatch(
        number=batch.number,
        relations=names[:NAMED],
        more=max(0, len(names) - NAMED),
        pages=batch.items[0].pages if len(batch.items) == 1 and batch.items[0].relation.is_table else None,
        bytes=batch.size,
        seconds=round(batch.size / rate.bytes_per_second, 1),
    )


def _snapshot_cost(session: Session, seconds: float) -> SnapshotCost:
    dead = dead_rows_a_second(session)
    return SnapshotCost(
        seconds=seconds,
        tables=lockable_tables(session),
        dead_rows=None if dead is None else int(dead * seconds),
        oldest_transactions=oldest_snapshot(session),
    )
