"""Restore some tables into a schema of their own: plan, then the confirmed plan and nothing else.

Nothing that the target database holds is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from coffre.catalogue.entries import RestoreEntry
from coffre.databases.postgresql.compare import GENERATED_DIFFERS
from coffre.databases.postgresql.target import Target
from coffre.errors import RestoreTooLargeError
from coffre.events.restore import RestoreRequest
from coffre.ids import utc_now
from coffre.restore.beside import build_beside
from coffre.restore.chosen import Chosen, choose
from coffre.restore.estimate import choose as where_to_run
from coffre.restore.estimate import estimate
from coffre.restore.history import recorded, remember
from coffre.restore.job import Restore, Services, measured, opened
from coffre.restore.sealed import seal_findings
from coffre.restore.token import new_token, plan_digest
from coffre.results import Finding, RestorePlan, RestoreResult, listed

NAMED = 500
"""Objects that a plan lists by name."""


def plan(request: RestoreRequest, target: Target, services: Services, *, seconds: float) -> RestorePlan:
    """What would be restored; nothing is changed.

    Raises
    ------
    CoffreError
        What stands in its way.
    """
    token = new_token(utc_now())
    with opened(request, target, services, seconds) as restore:
        chosen = choose(restore)
        where = _in_one_function(restore, chosen, seconds)
        expires = services.catalogue.plans(request.database).offer(token, _digest(restore, chosen))
        taking = estimate(chosen.bytes, services.catalogue.restores(request.database))
        return RestorePlan(
            mode="tables",
            token=token,
            expires=expires,
            database=request.database,
            backup_id=restore.manifest.id,
            target=target.label,
            target_database=target.database,
            creates_database=False,
            into=chosen.into,
            comes_along=_named(chosen.selection.comes_along),
            roles_to_create=[],
            tables=len(chosen.contents.relations),
            rows=chosen.rows,
            bytes=chosen.bytes,
            estimate_seconds=taking.seconds,
            estimate_basis=taking.basis,
            reason=where,
            findings=listed([*chosen.findings, *seal_findings(restore.manifest)]),
        )


def _in_one_function(restore: Restore, chosen: Chosen, seconds: float) -> str:
    """Why one function does it: the state machine restores whole databases only.

    Raises
    ------
    RestoreTooLargeError
    """
    choice = where_to_run(chosen.bytes, (), seconds)
    if choice.where == "machine" and restore.request.runs == "auto":
        raise RestoreTooLargeError(
            f"the tables of {restore.manifest.id} take {choice.reason}, and single tables come back in one "
            "function only",
            "Restore all into a new database, which can run on the state machine, and take the tables from "
            "there; or name fewer.  `--runs function` tries it all the same.",
        )
    return choice.reason


def run(request: RestoreRequest, target: Target, services: Services, *, seconds: float) -> RestoreResult:
    """Run the plan that the request's token confirms.

    Raises
    ------
    PlanChangedError, PlanUnknownError, PlanUsedError, PlanExpiredError
        If the plan of now isn't one that was made, shown and is still to be confirmed; nothing was changed.
    CoffreError
        The schema that was begun is gone again; the rest of the database is as it was.
    """
    started = utc_now()
    with opened(request, target, services, seconds) as restore:
        chosen = choose(restore)
        services.catalogue.plans(request.database).confirm(str(request.token), _digest(restore, chosen))
        audited = {"target": target.label, "mode": "tables", "into": chosen.into}
        audited |= {"source": "copy"} if request.source == "copy" else {}
        exceptions: list[Finding] = []
        keep = partial(_keep, restore, chosen, exceptions, started)
        with recorded(restore, started + timedelta(seconds=seconds), audited, keep):
            exceptions += build_beside(measured(restore, chosen.bytes), chosen)
        result = RestoreResult(
            mode="tables",
            database=request.database,
            backup_id=restore.manifest.id,
            root_hash=restore.root_hash,
            target_database=target.database,
            into=chosen.into,
            tables=len(chosen.contents.relations),
            rows=chosen.rows,
            bytes=chosen.bytes,
            seconds=round((utc_now() - started).total_seconds(), 3),
            digests_equal=not any(finding.code == GENERATED_DIFFERS for finding in exceptions),
            phases=restore.watch.phases,
            findings=listed(chosen.findings),
            exceptions=listed(exceptions),
        )
        services.publisher.publish("Restore Completed", result.answer())
        return result


def _digest(restore: Restore, chosen: Chosen) -> str:
    wanted = restore.wanted
    return plan_digest(
        {
            "root_hash": restore.root_hash,
            "backup": restore.manifest.id,
            "target": [wanted.host, wanted.port, wanted.database, wanted.user],
            "tables": sorted(chosen.selection.tables),
            "entries": sorted(chosen.selection.entries),
            "into": chosen.into,
            "exceptions": restore.request.exceptions,
            "source": restore.request.source,
        }
    )


def _keep(
    restore: Restore,
    chosen: Chosen,
    exceptions: Sequence[Finding],
    started: datetime,
    error: BaseException | None,
) -> None:
    """Keep in the history what the restore did."""
    entry = RestoreEntry(
        database=restore.request.database,
        time="",
        kind="tables",
        status="completed",
        backup_id=restore.manifest.id,
        target=restore.wanted.label,
        target_database=restore.wanted.database,
        tables=len(chosen.contents.relations),
        rows=chosen.rows,
        bytes=chosen.bytes,
        exceptions=len(exceptions),
    )
    remember(restore.services.catalogue, entry, started, error)


def _named(objects: tuple[str, ...]) -> list[str]:
    """As many as a person reads."""
    more = len(objects) - NAMED
    return [*objects[:NAMED], *([f"and {more} more objects"] if more > 0 else [])]
