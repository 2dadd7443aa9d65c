"""Makes the parts and puts them together: the only module that reads the environment or makes a client.

Each function imports from here what it needs, inside the function that needs it, so that a cold start pays
for its own path only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from coffre.settings import Settings
from coffre.workers import Message, WorkerPool, worker_pool

if TYPE_CHECKING:
    from coffre.backup.job import Job
    from coffre.backup.job import Services as BackupServices
    from coffre.catalogue.index import Catalogue
    from coffre.databases.postgresql.target import Target
    from coffre.databases.registration import Registration
    from coffre.databases.registry import Registry
    from coffre.events.backup import MachineRun
    from coffre.events.base import Event
    from coffre.events.restore import RestoreRequest
    from coffre.events.restore_machine import RestoreRun
    from coffre.health.run import Services as HealthServices
    from coffre.notify.publisher import Publisher
    from coffre.notify.waiting import TaskToken
    from coffre.prove.job import Services as ProveServices
    from coffre.report.job import Services as ReportServices
    from coffre.restore.job import Services as RestoreServices
    from coffre.restore.machine import MachineJob
    from coffre.results import FanOutResult
    from coffre.rotate.run import Services as RotateServices
    from coffre.vault.keys import SealKeys
    from coffre.vault.store import ObjectStore
    from coffre.verify.job import Services as VerifyServices

MARGIN_SECONDS = 5.0
"""Kept back of a function's time, so that it can still say what happened."""


class Context(Protocol):
    """What is used of Lambda's context object."""

    function_name: str

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is ended."""


def seconds_left(context: Context) -> float:
    """How long this invocation may still work."""
    return context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS


@cache
def settings() -> Settings:
    """The function's settings; see `Settings.from_environment`."""
    return Settings.from_environment(os.environ)


@cache
def _session() -> Any:
    """What all clients share: credentials, and the descriptions of services, are found once."""
    import boto3
    import botocore.session

    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_time)
    return boto3.Session(botocore_session=session)


@cache
def client(service: str, region: str | None = None) -> Any:
    """A boto3 client with bounded retries, jitter, and connections that stay alive."""
    from botocore.config import Config

    make: Any = _session().client  # its type is an overload for every service there is
    config = Config(
        retries={"mode": "standard", "max_attempts": 5},
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=16,
        tcp_keepalive=True,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return make(service, region_name=region, config=config)


def parse_time(value: Any) -> datetime:
    """A time in a service's answer.

    botocore's own way takes four fifths of what a page of a listing costs, and a vault has thousands of them.
    """
    from botocore.utils import parse_timestamp

    if isinstance(value, str) and value[:1].isdigit() and value.endswith("Z"):
        return datetime.fromisoformat(value)
    found: datetime = parse_timestamp(value)
    return found


def store() -> ObjectStore:
    """The vault's bucket."""
    from coffre.vault.store import ObjectStore

    return ObjectStore(client("s3"), settings().bucket, owner=settings().owner)


def copy_store() -> ObjectStore:
    """The bucket that the vault is replicated into.

    Raises
    ------
    NoCopyError
        If there is none.
    """
    from coffre.errors import NoCopyError
    from coffre.vault.store import ObjectStore

    here = settings()
    if not here.copy_arn:
        raise NoCopyError(f"the vault {here.bucket} isn't replicated anywhere")
    return ObjectStore(client("s3", here.copy_region), here.copy_bucket, owner=here.copy_owner)


def seal_keys() -> SealKeys:
    """The keys of sealed backups; a client of KMS is only made where one is needed."""
    from coffre.vault.keys import SealKeys

    return SealKeys(kms, os.environ.get("AWS_REGION", ""))


@cache
def kms(region: str) -> Any:
    """A KMS client for a region.  Its answers are short, and a report on health waits for them."""
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": 4},
        connect_timeout=3,
        read_timeout=10,
        tcp_keepalive=True,
    )
    return _session().client("kms", region_name=region, config=config)


def catalogue() -> Catalogue:
    """The catalogue's table."""
    from coffre.catalogue.index import Catalogue

    return Catalogue(client("dynamodb"), settings().table)


def publisher() -> Publisher:
    """Where events go."""
    from coffre.notify.publisher import Publisher

    return Publisher(client("events"), settings().bus, settings().stack)


def registry() -> Registry:
    """The registered databases."""
    from coffre.databases.registry import Registry

    return Registry(client("ssm"), client("secretsmanager"), settings().registrations)


def backup_services() -> BackupServices:
    """What a backup works with."""
    from coffre.backup.job import Services
    from coffre.databases.postgresql.tools import Tools

    here = settings()
    return Services(
        store=store(),
        keys=seal_keys(),
        catalogue=catalogue(),
        publisher=publisher(),
        tools=Tools(here.postgres),
        scratch=here.scratch,
        max_run_seconds=here.max_run_seconds,
        start_workers=start_workers,
        start_machine=_starting(here.backup_machine),
        is_running=_is_running,
    )


def machine_job(run: MachineRun, context: Context) -> tuple[Job, BackupServices]:
    """The attempt at a backup that a function of the state machine works on, and what it works with."""
    from coffre.backup.machine import machine_job

    registrations, services = registry(), backup_services()
    registration = registrations.get(run.database)
    source = registrations.source(registration, run.type)
    return machine_job(run, registration, source, services, seconds=seconds_left(context)), services


def task_token(token: str) -> TaskToken:
    """The state of a state machine that waits for this function."""
    from coffre.notify.waiting import TaskToken

    return TaskToken(client("stepfunctions"), token)


def verify_services(*, copy: bool = False) -> VerifyServices:
    """What a verification works with; ``copy``: with the second vault, if there is one."""
    from coffre.verify.job import Services

    here = settings()
    return Services(
        store=store(),
        keys=seal_keys(),
        catalogue=catalogue(),
        publisher=publisher(),
        registry=registry(),
        max_run_seconds=here.max_run_seconds,
        scratch=here.scratch,
        start_workers=start_workers,
        invoke_prove=lambda payload, seconds: invoke(
            f"{here.prove_function}-{payload['major']}", payload, seconds=seconds
        ),
        copy=copy_store() if copy and here.copy_arn else None,
    )


def prove_services() -> ProveServices:
    """What a proof works with: no client of any service."""
    from coffre.prove.job import Services

    here = settings()
    return Services(
        postgres=here.postgres,
        scratch=here.scratch,
        scratch_bytes=here.scratch_mb << 20,
        start_workers=start_bare_workers,
    )


def restore_services(source: Literal["vault", "copy"] = "vault") -> RestoreServices:
    """What a restore works with; ``copy``: backups are read from the second vault."""
    from coffre.databases.postgresql.tools import Tools
    from coffre.restore.job import Services

    here = settings()
    return Services(
        store=copy_store() if source == "copy" else store(),
        keys=seal_keys(),
        catalogue=catalogue(),
        publisher=publisher(),
        registry=registry(),
        tools=Tools(here.postgres),
        scratch=here.scratch,
        max_run_seconds=here.max_run_seconds,
        start_workers=start_workers,
        take_backup=lambda payload, seconds: invoke(here.backup_function, payload, seconds=seconds),
        start_machine=_starting(here.restore_machine),
    )


def restore_target(request: RestoreRequest) -> Target:
    """Where a restore goes: what its secret names, or the registered database itself."""
    from coffre.databases.postgresql.urls import parse_secret

    known = registry()
    if request.target_secret is None:
        return known.target(known.get(request.database))
    return parse_secret(known.secret(request.target_secret))


def restore_job(run: RestoreRun, context: Context) -> MachineJob:
    """The restore that a function of the state machine works on."""
    from coffre.restore.machine import machine_job

    services, target = restore_services(run.request.source), restore_target(run.request)
    return machine_job(run, target, services, seconds=seconds_left(context))


def late_target(run: RestoreRun) -> Callable[[], Target]:
    """The same target, looked up when it is asked for: its secret may be gone."""
    return partial(restore_target, run.request)


def rotate_services() -> RotateServices:
    """What a rotation works with; in a vault of replicas it waits as if runs took days: replication may."""
    from coffre.rotate.run import Services

    here = settings()
    return Services(
        store=store(),
        catalogue=catalogue(),
        publisher=publisher(),
        max_run_seconds=max(here.max_run_seconds, here.patience_seconds),
    )


def health_services() -> HealthServices:
    """What a health report works with."""
    from coffre.health.run import Services

    here = settings()
    return Services(
        registry=registry(),
        keys=seal_keys(),
        catalogue=catalogue(),
        publisher=publisher(),
        stack=here.stack,
        rpo_hours=here.rpo_hours,
        copy_bucket=here.copy_bucket if here.copy_arn else "",
    )


def report_services() -> ReportServices:
    """What a report works with."""
    from coffre.report.job import Services
    from coffre.report.scores import Scores

    stack = settings().stack
    return Services(
        store=store(),
        catalogue=catalogue(),
        registry=registry(),
        publisher=publisher(),
        scores=Scores(client("cloudwatch"), stack),
        stack=stack,
    )


def start_workers(setup: Sequence[Message], tick: Callable[[], None]) -> WorkerPool:
    """Worker processes of this library; see `coffre.worker` for what a setup holds.

    Those that use the bucket are handed what they need to write there: making a client of their own would
    take each of them half a second.
    """
    messages = [
        {**one, "store": _named(one["bucket"]).hand_over()} if "bucket" in one else one for one in setup
    ]
    return worker_pool(messages, tick, os.environ)


def _named(bucket: str) -> ObjectStore:
    """The one of the two buckets that a worker is to use."""
    return store() if bucket == settings().bucket else copy_store()


def start_bare_workers(setup: Sequence[Message], tick: Callable[[], None]) -> WorkerPool:
    """Worker processes without credentials, beside which a database's own code may run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return worker_pool(setup, tick, environment)


def invoke(function: str, payload: dict[str, Any], *, seconds: float) -> dict[str, Any]:
    """Call another function and wait for its answer; see `coffre.notify.functions.call`."""
    from botocore.config import Config

    from coffre.notify.functions import call

    # A call must not be repeated because its answer takes long, and must survive an idle connection.
    config = Config(retries={"total_max_attempts": 1}, read_timeout=seconds, tcp_keepalive=True)
    return call(_session().client("lambda", config=config), function, payload)


def _starting(machine: str) -> Callable[[str, dict[str, Any]], None] | None:
    """What starts executions of a state machine; None where there is no such machine."""

    def start(name: str, content: dict[str, Any]) -> None:
        from coffre.notify import machines

        machines.start(client("stepfunctions"), machine, name, content)

    return start if machine else None


def _is_running(execution: str) -> bool:
    """Whether an execution of a state machine goes on."""
    from coffre.notify import machines

    return machines.is_running(client("stepfunctions"), execution)


def fan_out(context: Context, request: Event, covers: Callable[[Registration], bool]) -> FanOutResult:
    """Ask this very function for each database that is covered, without waiting for it.

    It is asked for one whose registration isn't valid as well, and fails there, by name: an alarm and the
    queue of failures hear of it.  If it were this invocation that fails, Lambda would repeat it, and ask for
    all the others again.  (Of the same scheduled time there is one backup: the second is skipped if the first
    is done, and refused, which raises the alarm, while it goes on.)
    """
    from coffre.results import FanOutResult

    registered = registry().all()
    due = [name for name, registration in registered.valid.items() if covers(registration)]
    event = request.model_dump(mode="json", exclude_unset=True)
    for database in (*due, *registered.invalid):
        payload = json.dumps({**event, "database": database})
        client("lambda").invoke(FunctionName=context.function_name, InvocationType="Event", Payload=payload)
    return FanOutResult(started=due, failed={name: str(error) for name, error in registered.invalid.items()})
