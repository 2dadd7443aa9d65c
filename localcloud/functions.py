"""Functions: their settings, their warm processes, their limits."""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from localcloud.runtime_api import Outcome, Sandbox

MACHINE_CONCURRENCY = 10
"""Processes of one function at a time when the template reserves no concurrency."""


class ThrottledError(Exception):
    """All of the function's reserved concurrency is in use."""


@dataclass(frozen=True)
class FunctionSettings:
    """What the template says about a function.

    Attributes:
        logical: logical id in the template.
        name: physical name.
        arn: its ARN.
        handler: ``module.function``.
        runtime: runtime identifier such as ``python3.13``; the running Python executes it whatever it says.
        task_root: folder of the code.
        python_path: folders that layers add to Python's path.
        environment: variables from the template, resolved.
        timeout: seconds.
        memory: MB, told to the handler and not enforced.
        reserved: reserved concurrency, if any.
        retries: attempts after a failed asynchronous one.
        on_failure: ARN of the OnFailure destination, or "".
        on_success: ARN of the OnSuccess destination, or "".
        dead_letters: ARN of the dead-letter queue, or "".
    """

    logical: str
    name: str
    arn: str
    handler: str
    runtime: str
    task_root: Path
    python_path: tuple[Path, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    timeout: float = 3
    memory: int = 128
    reserved: int | None = None
    retries: int = 2
    on_failure: str = ""
    on_success: str = ""
    dead_letters: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What all functions of a stack share.

    Attributes:
        endpoint: URL of the local AWS endpoints.
        region: AWS region.
        state: folder for logs.
        byte_code: folder for byte code.
        python: the interpreter.
        runtime: folder with the packages of AWS's runtime.
        save_log: takes a log group and the text printed by one invocation.
    """

    endpoint: str
    region: str
    state: Path
    byte_code: Path
    python: Path
    runtime: Path
    save_log: Callable[[str, str], None]


class Function:
    """A function with a pool of warm processes."""

    def __init__(self, settings: FunctionSettings, surroundings: Surroundings) -> None:
        self.settings = settings
        self._around = surroundings
        self._idle: list[Sandbox] = []
        self._live: set[Sandbox] = set()
        self._lock = threading.Lock()
        self._closed = False
        limit = MACHINE_CONCURRENCY if settings.reserved is None else settings.reserved
        self._slots = threading.Semaphore(limit)
        logs = surroundings.state / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self._log_file = (logs / f"{settings.logical}.log").open("ab", buffering=0)

    def invoke(self, payload: bytes, *, wait: bool, request_id: str | None = None) -> Outcome:
        """Run the handler once.

        Args:
            payload: the event, JSON.
            wait: queue for a free slot, as asynchronous events do, instead of being throttled.
            request_id: AWS request id; a new one if None. Retries keep theirs.

        Returns:
            The outcome; failures of the handler or its process are outcomes too.

        Raises:
            ThrottledError: the reserved concurrency is used up and ``wait`` is false.
        """
        # Without a reservation the limit is this machine's, not AWS's: queue for it.
        if not self._slots.acquire(blocking=wait or self.settings.reserved is None):
            raise ThrottledError(self.settings.name)
        try:
            return self._run(payload, request_id or str(uuid.uuid4()))
        finally:
            self._slots.release()

    def close(self) -> None:
        """Kill all processes of this function; no new one starts."""
        with self._lock:
            self._closed = True
            live = list(self._live)
            self._live.clear()
            self._idle.clear()
        for sandbox in live:
            sandbox.close()
        self._log_file.close()

    def _run(self, payload: bytes, request_id: str) -> Outcome:
        sandbox = self._checkout()
        self._write_log(f"START RequestId: {request_id} Version: $LATEST\n".encode())
        began = time.monotonic()
        outcome, alive = sandbox.invoke(payload, self.settings.timeout, request_id)
        report = _report(outcome, (time.monotonic() - began) * 1000, self.settings.memory)
        self._write_log(report.encode())
        with self._lock:
            if not alive:
                self._live.discard(sandbox)
            elif not self._closed:
                self._idle.append(sandbox)
        group = f"/aws/lambda/{self.settings.name}"
        self._around.save_log(group, f"START RequestId: {request_id}\n{outcome.log}{report}")
        return outcome

    def _checkout(self) -> Sandbox:
        with self._lock:
            if self._closed:
                raise ThrottledError(self.settings.name)
            while self._idle:
                sandbox = self._idle.pop()
                if sandbox.is_running:
                    return sandbox
                self._live.discard(sandbox)
            settings = self.settings
            root = str(settings.task_root)
            sandbox = Sandbox(
                self._around.python,
                settings.arn,
                self._environment(),
                settings.handler,
                root,
                self._write_log,
            )
            self._live.add(sandbox)
            return sandbox

    def _write_log(self, block: bytes) -> None:
        # The last words of a killed process may come when its function is closed already.
        with contextlib.suppress(ValueError):
            self._log_file.write(block)

    def _environment(self) -> dict[str, str]:
        """The environment of real Lambda, and nothing of the developer's
        (https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)."""
        settings, around = self.settings, self._around
        path = [settings.task_root, *settings.python_path, around.runtime]
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "HOME": "/tmp",  # noqa: S108
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "LAMBDA_TASK_ROOT": str(settings.task_root),
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "_HANDLER": settings.handler,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{settings.runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": settings.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(settings.memory),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{settings.name}",
            "AWS_REGION": around.region,
            "AWS_DEFAULT_REGION": around.region,
            "AWS_ENDPOINT_URL": around.endpoint,
            # As on AWS, each function has credentials of its own.
            "AWS_ACCESS_KEY_ID": settings.name,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_SESSION_TOKEN": "local",
            **settings.environment,
            # /var/task is read-only on Lambda; here byte code must not litter the source folders.
            "PYTHONPYCACHEPREFIX": str(around.byte_code),
        }


def _report(outcome: Outcome, milliseconds: float, memory: int) -> str:
    failure = ""
    if outcome.failed:
        failure = outcome.payload.decode(errors="replace")[:2000] + "\n"
    return (
        f"{failure}END RequestId: {outcome.request_id}\n"
        f"REPORT RequestId: {outcome.request_id}\tDuration: {milliseconds:.2f} ms\tMemory Size: {memory} MB\n"
    )
