"""The local cloud in this process: endpoints, functions and deliveries of one stack."""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config
from moto.logs.models import logs_backends

from localcloud import moto_patches, template
from localcloud.background import Background, Failure
from localcloud.bodies import Bodies
from localcloud.checksums import checksum_route
from localcloud.deploy import ACCOUNT, Deployment, deploy
from localcloud.errors import LocalCloudError, UnknownScheduleError
from localcloud.events import Deliveries
from localcloud.functions import Function, Surroundings
from localcloud.invoker import Invoker
from localcloud.layers import mount
from localcloud.objects import ObjectRoute
from localcloud.owners import owner_route
from localcloud.packages import interpreter, of_runtime
from localcloud.replication import replicate
from localcloud.routes import ControlRoute, InvokeRoute
from localcloud.server import Application, Server
from localcloud.targets import Targets

REGION = "us-east-1"
"""The region of everything; moto's endpoints take any, the stack lives in this one."""

_running = threading.Lock()


class LocalCloud:
    """A deployed stack; made by ``up``. Use it as a context manager or call ``close``.

    Attributes:
        endpoint: URL of all AWS endpoints.
        region: AWS region.
        stack: name of the stack.
        state: folder of logs, ``/opt`` and object bodies.
    """

    def __init__(self, path: Path, port: int, state: Path, stack: str, parameters: Mapping[str, str]) -> None:
        self.region = REGION
        self.stack = stack
        self.state = state.resolve()
        self.state.mkdir(parents=True, exist_ok=True)
        self._background = Background()
        self._functions: dict[str, Function] = {}
        targets = Targets(self.client, lambda arn, body: self._invoker.send(self._invoker.find(arn), body))
        self._invoker = Invoker(self._background, targets)
        self._deliveries = Deliveries(self._background, targets)
        self._application = Application(
            [InvokeRoute(self._invoker), ControlRoute(self), owner_route, checksum_route]
        )
        self._application.routes.append(ObjectRoute(ACCOUNT, self._application.lock))
        moto_patches.reset()
        self._patches: moto_patches.Patches | None = moto_patches.install(
            Bodies(self.state / "objects"),
            self._deliveries,
            lambda name, body: self._invoker.send(self._invoker.find(name), body),
            self._application.lock("sqs"),
        )
        try:
            self._start(path, port, parameters)
        except BaseException:
            self._stop()
            raise

    @property
    def bucket(self) -> str | None:
        """Name of the template's first bucket."""
        return self._deployment.first("AWS::S3::Bucket")

    @property
    def table(self) -> str | None:
        """Name of the template's first DynamoDB table."""
        return self._deployment.first("AWS::DynamoDB::Table")

    @property
    def functions(self) -> dict[str, str]:
        """Physical names by logical ids."""
        return {s.logical: s.name for s in self._deployment.functions.values()}

    @property
    def schedules(self) -> dict[str, dict[str, Any]]:
        """The schedules by name: ``expression``, ``timezone``, ``state``, ``target`` ..."""
        return {name: schedule.as_dict() for name, schedule in self._deployment.schedules.items()}

    @property
    def resources(self) -> dict[str, str]:
        """Physical ids of all resources by logical ids."""
        return dict(self._deployment.physical)

    @property
    def failures(self) -> list[Failure]:
        """Deliveries and asynchronous invocations that failed for good."""
        return self._background.failures

    def info(self) -> dict[str, Any]:
        """What another process needs to use this cloud; the content of ``local.json``."""
        return {
            "endpoint": self.endpoint,
            "region": self.region,
            "bucket": self.bucket,
            "table": self.table,
            "stack": self.stack,
            "functions": self.functions,
            "schedules": self.schedules,
            "outputs": self._deployment.outputs,
            "not_simulated": sorted(self._deployment.not_simulated),
            "pid": os.getpid(),
        }

    def status(self) -> dict[str, Any]:
        """``info``, and ``failures`` and the number of asynchronous events ``under_way``."""
        failures = [failure.as_dict() for failure in self.failures]
        return {**self.info(), "failures": failures, "under_way": self._background.under_way}

    def fire(self, name: str, scheduled_time: str | None = None) -> dict[str, str]:
        """Deliver a schedule's input to its target now, asynchronously.

        Args:
            name: of the schedule.
            scheduled_time: ISO 8601, for ``<aws.scheduler.scheduled-time>``; now if None.

        Returns:
            ``schedule``, ``target``, ``scheduled_time``, ``execution_id`` and ``input``.

        Raises:
            UnknownScheduleError: the template has none of that name.
        """
        schedule = self._deployment.schedules.get(name)
        if schedule is None:
            names = ", ".join(sorted(self._deployment.schedules)) or "none"
            raise UnknownScheduleError(f"no schedule {name!r}; there are: {names}")
        return self._deliveries.fire(schedule, scheduled_time)

    def replicate(self, only: Callable[[str], bool] = bool) -> int:
        """Copy what waits for S3 Replication now; ``only`` says which keys arrive. Returns how many."""
        with self._application.lock("s3"):
            return replicate(ACCOUNT, only)

    def drain(self, timeout: float = 60) -> bool:
        """Wait until no asynchronous work is under way; False if it takes more than ``timeout`` seconds."""
        return self._background.drain(timeout)

    def client(self, service: str) -> Any:
        """A boto3 client that talks to this cloud."""
        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106
            config=Config(max_pool_connections=32, read_timeout=900, retries={"total_max_attempts": 1}),
        )

    def close(self) -> None:
        """Kill all functions, stop the endpoints, forget everything but the logs."""
        if self._patches is not None:
            self._stop()
            _running.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, path: Path, port: int, parameters: Mapping[str, str]) -> None:
        source = template.read(path, self.region, parameters)
        opt, kept = self.state / "opt", path.resolve().parent / ".coffre"
        python_path = mount(source.layers.values(), opt, kept / "opt")
        try:
            self._server = Server(self._application, port)
        except OSError as error:
            raise LocalCloudError(f"can't listen on port {port}: {error.strerror}; choose another") from error
        self.endpoint = self._server.url
        # Where the states of state machines call; moto knows no other way to say it.
        os.environ["MOTO_PORT"] = self.endpoint.rpartition(":")[2]
        self._deployment: Deployment = deploy(
            source,
            self.client,
            stack=self.stack,
            region=self.region,
            parameters=parameters,
            opt=opt,
            python_path=python_path,
        )
        around = Surroundings(
            self.endpoint,
            self.region,
            self.state,
            kept / "pycache",
            interpreter(kept / "packages"),
            of_runtime(kept / "packages"),
            self._log_saver(),
        )
        for name, settings in self._deployment.functions.items():
            self._functions[name] = Function(settings, around)
        self._invoker.functions = self._functions

    def _log_saver(self) -> Callable[[str, str], None]:
        backend = logs_backends[ACCOUNT][self.region]
        lock = self._application.lock("logs")

        def save(group: str, text: str) -> None:
            now = int(time.time() * 1000)
            events = [{"timestamp": now, "message": line} for line in text.splitlines()]
            stream = f"{time.strftime('%Y/%m/%d')}/[$LATEST]{uuid.uuid4().hex}"
            with lock:
                backend.ensure_log_group(group)
                backend.create_log_stream(group, stream)
                backend.put_log_events(group, stream, events)

        return save

    def _stop(self) -> None:
        for function in self._functions.values():
            function.close()
        if hasattr(self, "_server"):
            self._server.stop()
        if self._patches is not None:
            moto_patches.reset()
            self._patches.undo()
        self._patches = None
        shutil.rmtree(self.state / "objects", ignore_errors=True)


def up(
    template: Path,
    *,
    port: int = 0,
    state: Path,
    stack: str = "local",
    parameters: Mapping[str, str] | None = None,
) -> LocalCloud:
    """Bring a SAM template up in this process.

    Args:
        template: the ``template.yaml``.
        port: of the endpoints; 0 chooses a free one.
        state: folder for logs, layers and object bodies; made if it isn't there.
        stack: name of the stack.
        parameters: values of the template's parameters that differ from their defaults.

    Raises:
        TemplateError: the template can't be deployed.
        LayerError: a layer can't be mounted.
        LocalCloudError: the port is taken, or one runs in this process already (moto's state belongs to
            the process).
    """
    if not _running.acquire(blocking=False):
        raise LocalCloudError("a local cloud runs in this process already; close it first")
    try:
        return LocalCloud(template, port, state, stack, parameters or {})
    except BaseException:
        _running.release()
        raise
