"""Undoing a swap: the database that was put aside gets its name back, the restored one is put aside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from coffre.catalogue.entries import RestoreEntry
from coffre.databases.postgresql.connection import open_session
from coffre.databases.postgresql.exchange import Exchange, exchange_names
from coffre.databases.postgresql.standing import (
    Mark,
    Standing,
    dated,
    find,
    put_aside,
    without_mark,
    write_mark,
)
from coffre.databases.postgresql.target import Target
from coffre.errors import UndoImpossibleError, describe
from coffre.events.restore import RestoreRequest
from coffre.ids import stamp, utc_now
from coffre.restore.application import ask_application
from coffre.restore.history import remember
from coffre.restore.job import Services
from coffre.restore.swap import CHECK_SECONDS, refuse_reserved, require_rights
from coffre.restore.token import new_token, plan_digest, token_time
from coffre.results import UndoPlan, UndoResult


@dataclass(frozen=True)
class _Pair:
    """The databases that belong together.

    Attributes
    ----------
    present:
        The one that bears the name; None if none does.
    previous:
        The one that bore it before.
    """

    present: Standing | None
    previous: Standing
    mark: Mark
    sessions: int


def plan(request: RestoreRequest, target: Target, services: Services, *, seconds: float) -> UndoPlan:  # noqa: ARG001
    """Which database would come back; nothing is changed.

    Raises
    ------
    UndoImpossibleError, TargetLacksError
    """
    token = new_token(utc_now())
    pair = _find(target)
    expires = services.catalogue.plans(request.database).offer(token, _digest(target, pair))
    return UndoPlan(
        token=token,
        expires=expires,
        database=request.database,
        target=target.label,
        target_database=target.database,
        comes_back=pair.previous.name,
        replaced_at=pair.mark.at,
        kept_as=_aside(pair, token_time(token)),
        sessions=pair.sessions,
    )


def run(request: RestoreRequest, target: Target, services: Services, *, seconds: float) -> UndoResult:
    """Run the plan that the request's token confirms.

    Raises
    ------
    PlanChangedError, PlanUnknownError, PlanUsedError, PlanExpiredError, UndoImpossibleError
        Nothing was changed.
    SessionsRemainError, CoffreError
        Nothing was renamed.
    """
    started, token = utc_now(), str(request.token)
    aside = token_time(token)
    pair = _find(target)
    services.catalogue.plans(request.database).confirm(token, _digest(target, pair))
    kept_as = _aside(pair, aside)
    details = {"target": target.label, "comes_back": pair.previous.name, "kept_as": kept_as or ""}
    services.catalogue.audit(request.database, "undo", target.database, details)
    failure: BaseException | None = None
    try:
        exchange_names(target.maintenance, _exchange(target.database, pair, kept_as), seconds=seconds)
    except BaseException as error:
        failure = error
        fault = {"database": request.database, "mode": "undo", **describe(error)}
        services.publisher.publish_failure("Restore Failed", fault, error)
        raise
    finally:
        entry = RestoreEntry(
            database=request.database,
            time="",
            kind="undo",
            status="completed",
            target=target.label,
            target_database=target.database,
            kept_as=kept_as,
        )
        remember(services.catalogue, entry, started, failure)
    left = seconds - (utc_now() - started).total_seconds()
    endpoints, down = ask_application(services.registry, request.database, target, None, seconds=left)
    result = UndoResult(
        status="application-down" if down else "completed",
        database=request.database,
        target_database=target.database,
        came_back=pair.previous.name,
        kept_as=kept_as,
        seconds=round((utc_now() - started).total_seconds(), 3),
        findings=down,
        endpoints=endpoints,
    )
    services.publisher.publish("Restore Undone", result.answer())
    return result


def _find(target: Target) -> _Pair:
    """The databases that an undo would exchange.

    The newest one that a swap put aside counts.  If another database bears the name by now than the one that
    took its place then, somebody did something that an undo doesn't know of.
    """
    refuse_reserved(target)
    with open_session(target.maintenance, seconds=CHECK_SECONDS, application="coffre/plan") as session:
        present = find(session, target.database)
        known = [pair for pair in put_aside(session, target.database) if pair[1].by == "swap"]
        if not known:
            raise UndoImpossibleError(f"no database that a restore replaced as {target.label} is there")
        fitting = [pair for pair in known if present is None or pair[1].replaced_by == present.oid]
        if not fitting:
            newest = known[0][0].name
            raise UndoImpossibleError(
                f"{target.label} isn't what took the place of {newest!r}: it was renamed or made since"
            )
        previous, mark = fitting[0]
        both = [previous] if present is None else [previous, present]
        return _Pair(present, previous, mark, require_rights(session, target, *both))


def _aside(pair: _Pair, moment: datetime) -> str | None:
    return dated(pair.present.name, "undone", moment) if pair.present else None


def _digest(target: Target, pair: _Pair) -> str:
    present = pair.present.oid if pair.present else None
    return plan_digest(
        {
            "undo": [target.host, target.port, target.database, target.user],
            "pair": [present, pair.previous.oid, pair.previous.name],
        }
    )


def _exchange(name: str, pair: _Pair, kept_as: str | None) -> Exchange:
    comments = {name: without_mark(pair.previous.comment)}
    if pair.present is None or kept_as is None:
        return Exchange(name, None, "", (pair.previous.oid, pair.previous.name), comments)
    mark = Mark(name, pair.present.oid, pair.previous.oid, stamp(utc_now()), "undo")
    comments[kept_as] = write_mark(pair.present.comment, mark)
    return Exchange(name, pair.present.oid, kept_as, (pair.previous.oid, pair.previous.name), comments)
