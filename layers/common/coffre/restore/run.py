"""One restore: plan, then the confirmed plan and nothing else.

The database is built under a name of its own and gets its final name last, so a restore that was interrupted
never looks finished.  A target that exists already, and is empty, is filled where it is; one that a restored
database is to replace keeps all its content and gets another name (`coffre.restore.swap`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from coffre.catalogue.entries import NEWEST_RESTORES, RestoreEntry
from coffre.choice import Choice
from coffre.databases.postgresql.compare import GENERATED_DIFFERS
from coffre.databases.postgresql.dump import list_entries
from coffre.databases.postgresql.encodings import codec_of
from coffre.databases.postgresql.target import Target
from coffre.databases.postgresql.toc import read_toc
from coffre.errors import RestoreTooLargeError
from coffre.events.restore import RestoreRequest
from coffre.ids import utc_now
from coffre.restore import machine
from coffre.restore.application import ask_application
from coffre.restore.build import build
from coffre.restore.estimate import choose, estimate
from coffre.restore.history import recorded, remember
from coffre.restore.job import Restore, Services, opened
from coffre.restore.plan import Situation, bound_to, inspect_target, make_plan
from coffre.restore.swap import inspect_swap, safety_backup
from coffre.restore.token import new_token, plan_digest, token_time
from coffre.results import EndpointAnswer, Finding, RestorePlan, RestoreResult, listed


@dataclass
class _Outcome:
    """What a restore did so far, for its result and for the history."""

    safety_backup: str | None = None
    findings: list[Finding] = field(default_factory=list)
    exceptions: list[Finding] = field(default_factory=list)


def plan(request: RestoreRequest, target: Target, services: Services, *, seconds: float) -> RestorePlan:
    """What the restore would do; nothing is changed.

    Raises
    ------
    CoffreError
        What stands in its way.
    """
    token = new_token(utc_now())
    with opened(request, target, services, seconds) as restore:
        situation = _inspect(restore, token)
        measured = _measured(restore)
        choice = _where(restore, situation, measured, seconds)
        expires = services.catalogue.plans(request.database).offer(token, _digest(restore, situation, choice))
        return _shown(restore, situation, choice, measured, token).model_copy(update={"expires": expires})


def run(
    request: RestoreRequest, target: Target, services: Services, *, seconds: float, drill: bool = False
) -> RestoreResult:
    """Run the plan that the request's token confirms.

    Parameters
    ----------
    drill:
        It is a rehearsal, and the history calls it so.

    Raises
    ------
    PlanChangedError, PlanUnknownError, PlanUsedError, PlanExpiredError
        If the plan of now isn't one that was made, shown and is still to be confirmed; nothing was changed.
    RestoreExceptionsError
        If something can't be restored and the plan doesn't accept that; all of it is named.
    RestoreMismatchError
        If what was restored differs; the new database is left under its working name.
    CoffreError
        After other errors the database that was begun is dropped again; one that was to be replaced still
        bears its name.
    """
    started, token = utc_now(), str(request.token)
    with opened(request, target, services, seconds) as restore:
        situation = _inspect(restore, token)
        measured = _measured(restore)
        choice = _where(restore, situation, measured, seconds)
        shown = _shown(restore, situation, choice, measured, token)
        services.catalogue.plans(request.database).confirm(token, _digest(restore, situation, choice))
        if choice.where == "machine":
            return machine.start(restore, situation, _audited(restore, situation))
        outcome, deadline = _Outcome(), started + timedelta(seconds=seconds)
        keep = partial(_keep, restore, situation, outcome, started, drill)
        with recorded(restore, deadline, _audited(restore, situation), keep):
            _protect(restore, situation, outcome)
            findings, outcome.exceptions = build(restore, situation)
            outcome.findings += findings
        endpoints, down = _application(restore, situation)
        totals = restore.manifest.totals
        result = RestoreResult(
            mode="swap" if situation.swap else "new",
            status="application-down" if down else "completed",
            database=request.database,
            backup_id=restore.manifest.id,
            root_hash=restore.root_hash,
            target_database=target.database,
            kept_as=situation.swap.aside if situation.swap else None,
            safety_backup=outcome.safety_backup,
            tables=totals.relations,
            rows=totals.rows,
            bytes=totals.bytes,
            seconds=round((utc_now() - started).total_seconds(), 3),
            digests_equal=not any(finding.code == GENERATED_DIFFERS for finding in outcome.exceptions),
            phases=restore.watch.phases,
            findings=[*dict.fromkeys(down + outcome.findings + shown.findings)],
            exceptions=listed(outcome.exceptions),
            endpoints=endpoints,
        )
        services.publisher.publish("Restore Completed", result.answer())
        return result


def _application(restore: Restore, situation: Situation) -> tuple[list[EndpointAnswer], list[Finding]]:
    """What the application says of the database that has its place now; nothing of one that stands beside."""
    if situation.swap is None:
        return [], []
    return ask_application(
        restore.services.registry,
        restore.request.database,
        restore.wanted,
        situation.swap.registered,
        seconds=restore.watch.seconds_left,
    )


def _inspect(restore: Restore, token: str) -> Situation:
    """Look at everything that the plan depends on, without changing anything."""
    request, wanted = restore.request, restore.wanted
    swap = None
    if request.mode == "swap":
        safety, registry = request.safety == "take", restore.services.registry
        swap = inspect_swap(wanted, token_time(token), registry, safety=safety)
    # The archive is listed by the newest tools: they read every older archive.
    entries = list_entries(restore.services.tools, 18, restore.schema, deadline=restore.watch.deadline)
    return inspect_target(
        wanted,
        restore.manifest,
        restore.contents,
        entries,
        read_toc(restore.schema, codec_of(restore.manifest.locale.encoding)),
        request,
        swap=swap,
    )


def _measured(restore: Restore) -> list[RestoreEntry]:
    """The newest restores of the database, newest first: as many as estimates look at."""
    return list(islice(restore.services.catalogue.restores(restore.request.database), NEWEST_RESTORES))


def _where(
    restore: Restore, situation: Situation, measured: Sequence[RestoreEntry], seconds: float
) -> Choice:
    """Where it runs.

    Raises
    ------
    RestoreTooLargeError
        The state machine builds under a working name, so it can't fill a database that has its name already.
    """
    request, services = restore.request, restore.services
    choice = choose(
        restore.manifest.totals.bytes,
        measured,
        seconds,
        runs=request.runs,
        machine=services.start_machine is not None,
    )
    if choice.where == "machine" and not situation.creates:
        raise RestoreTooLargeError(
            f"{restore.wanted.label} is there already, and empty; {choice.reason}",
            "Name a database that doesn't exist, which gets its name when it is whole, or use --mode swap; "
            "`--runs function` tries it in one function all the same.",
        )
    return choice


def _digest(restore: Restore, situation: Situation, choice: Choice) -> str:
    roles = restore.request.roles
    exceptions = restore.request.exceptions
    return plan_digest(
        bound_to(
            restore.manifest, restore.root_hash, restore.wanted, situation, roles=roles, exceptions=exceptions
        )
        | {"source": restore.request.source, "where": choice.where}
    )


def _shown(
    restore: Restore, situation: Situation, choice: Choice, measured: Sequence[RestoreEntry], token: str
) -> RestorePlan:
    size = restore.manifest.totals.bytes
    taking = estimate(size, measured, choice.where)
    if taking.seconds is None:
        taking = estimate(size, measured)
    return make_plan(
        restore.manifest,
        restore.wanted,
        situation,
        choice,
        taking,
        token=token,
        exceptions=restore.request.exceptions,
    )


def _audited(restore: Restore, situation: Situation) -> dict[str, str]:
    """What the audit trail keeps: enough to know later which databases belong together."""
    swap = situation.swap
    more = {"kept_as": swap.aside, "safety": restore.request.safety} if swap else {}
    more |= {"source": "copy"} if restore.request.source == "copy" else {}
    return {"target": restore.wanted.label, "mode": restore.request.mode, **more}


def _keep(
    restore: Restore,
    situation: Situation,
    outcome: _Outcome,
    started: datetime,
    drill: bool,
    error: BaseException | None,
) -> None:
    """Keep in the history what the restore did; a safety backup's time isn't the restore's."""
    before = timedelta(seconds=restore.watch.phases.get("safety_backup", 0.0))
    totals, swap = restore.manifest.totals, situation.swap
    entry = RestoreEntry(
        database=restore.request.database,
        time="",
        kind="swap" if swap else "drill" if drill else "new",
        status="completed",
        backup_id=restore.manifest.id,
        target=restore.wanted.label,
        target_database=restore.wanted.database,
        kept_as=swap.aside if swap else None,
        safety_backup=outcome.safety_backup,
        tables=totals.relations,
        rows=totals.rows,
        bytes=totals.bytes,
        exceptions=len(outcome.exceptions),
    )
    remember(restore.services.catalogue, entry, started + before, error)


def _protect(restore: Restore, situation: Situation, outcome: _Outcome) -> None:
    """Back up the database that is to be replaced, if that was planned."""
    if situation.swap is not None and situation.swap.registered is not None:
        watch, take = restore.watch, restore.services.take_backup
        with watch.phase("safety_backup"):
            outcome.safety_backup = safety_backup(
                situation.swap.registered, restore.manifest.id, take, watch.seconds_left
            )
