"""One Lambda execution environment: a process of AWS's runtime client behind a Runtime API of its own.

The process is ``python -m awslambdaric``, the client that AWS runs in its managed Python runtimes; it fetches
events from and posts results to the HTTP interface that is served here
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
"""

import contextlib
import http.server
import json
import os
import queue
import select
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from localcloud.processes import kill_tree

INIT_SECONDS = 120.0
"""Time a process has to reach its first event. AWS allows 10 s; a laptop under load is much slower."""

_API = "/2018-06-01/runtime/"


@dataclass(frozen=True)
class Outcome:
    """What one attempt at an invocation gave.

    Attributes:
        payload: the response, or the error as JSON.
        failed: whether the payload is an error.
        request_id: AWS request id of the invocation.
        log: what the process printed during it.
    """

    payload: bytes
    failed: bool
    request_id: str
    log: str


@dataclass(frozen=True)
class _Event:
    request_id: str
    payload: bytes
    deadline_ms: int


@dataclass(frozen=True)
class _Answer:
    request_id: str | None
    payload: bytes
    failed: bool


class Sandbox:
    """A process that handles one event at a time, and its Runtime API.

    Args:
        python: the interpreter.
        arn: ARN told to the handler.
        command_environment: environment of the process, complete; the Runtime API's address, the log stream
            and nothing else are added.
        handler: ``module.function``.
        task_root: folder of the code, the process's working directory.
        on_log: called with each piece of output.
    """

    def __init__(
        self,
        python: Path,
        arn: str,
        command_environment: Mapping[str, str],
        handler: str,
        task_root: str,
        on_log: Callable[[bytes], None],
    ) -> None:
        self.arn = arn
        self._events: queue.SimpleQueue[_Event | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._init_error: bytes | None = None
        self._closed = threading.Event()
        self._on_log = on_log
        self._log = bytearray()
        self._log_lock = threading.Lock()
        self._server = _RuntimeServer(self)
        threading.Thread(target=self._server.serve, daemon=True).start()
        self._marker = f"[$LATEST]{uuid.uuid4().hex}"
        environment = {
            **command_environment,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}",
            "AWS_LAMBDA_LOG_STREAM_NAME": time.strftime("%Y/%m/%d/") + self._marker,
        }
        self._output, output = os.pipe()
        os.set_blocking(self._output, False)
        self._process = subprocess.Popen(
            [str(python), "-m", "awslambdaric", handler],
            cwd=task_root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        os.close(output)
        threading.Thread(target=self._follow_output, daemon=True).start()
        threading.Thread(target=self._await_exit, daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def invoke(self, payload: bytes, timeout: float, request_id: str) -> tuple[Outcome, bool]:
        """Handle one event.

        Args:
            payload: the event, JSON.
            timeout: seconds the handler may take, counted from the moment the process is ready.
            request_id: AWS request id.

        Returns:
            The outcome, and whether the process can take another event; it was killed if not.
        """
        self._take_log()
        starting = not self._ready.wait(INIT_SECONDS)
        if not starting:
            self._events.put(_Event(request_id, payload, int((time.time() + timeout) * 1000)))
        answer = None if starting else self._next_answer(request_id, timeout)
        if answer is None:
            limit = INIT_SECONDS if starting else timeout
            text = f"RequestId: {request_id} Error: Task timed out after {limit:.2f} seconds"
            answer = _Answer(None, _error("Sandbox.Timedout", text), True)
        alive = answer.request_id is not None
        log = self._take_log()
        if not alive:
            self.close()
        return Outcome(answer.payload, answer.failed, request_id, log), alive

    def close(self) -> None:
        """Kill the process, all that it started, and the Runtime API. Harmless when done twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        kill_tree(self._process.pid, self._marker)
        self._events.put(None)
        self._server.end()

    def _next_answer(self, request_id: str, timeout: float) -> _Answer | None:
        """The answer to this event or the news of the process's end; None when the time is over."""
        end = time.monotonic() + timeout
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return None
            if answer.request_id == request_id:
                return answer
            if answer.request_id is None:
                exit_error = answer.payload.decode().replace("{request_id}", request_id)
                return _Answer(None, exit_error.encode(), True)

    def _await_exit(self) -> None:
        code = self._process.wait()
        how = f"exit status {code}" if code >= 0 else f"signal: {_signal_name(-code)}"
        text = f"RequestId: {{request_id}} Error: Runtime exited with error: {how}"
        self._answers.put(_Answer(None, self._init_error or _error("Runtime.ExitError", text), True))
        self._ready.set()

    def _follow_output(self) -> None:
        poll = select.poll()
        poll.register(self._output, select.POLLIN | select.POLLHUP)
        while self._read_output():
            poll.poll()
        with self._log_lock:
            os.close(self._output)
            self._output = -1

    def _read_output(self) -> bool:
        """Move what the pipe holds to the log; whether more may come."""
        with self._log_lock:
            try:
                while block := os.read(self._output, 65536):
                    self._log += block
                    self._on_log(block)
            except BlockingIOError:
                return True
            except OSError:
                return False
        return False

    def _take_log(self) -> str:
        """What was printed since the last call; the runtime client prints before it answers."""
        self._read_output()
        with self._log_lock:
            text = self._log.decode(errors="replace")
            self._log.clear()
        return text

    def next_event(self) -> _Event | None:
        """Wait for the next event; None when this environment is closed."""
        self._ready.set()
        return self._events.get()

    def answer(self, path: str, body: bytes) -> None:
        """Take what the runtime client posted to a path of the Runtime API."""
        step = path.removeprefix(_API).split("/")
        if step == ["init", "error"]:
            self._init_error = body
        elif len(step) == 3 and step[2] in ("response", "error"):
            self._answers.put(_Answer(step[1], body, step[2] == "error"))


class _RuntimeServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        super().__init__(("127.0.0.1", 0), _RuntimeHandler)

    def serve(self) -> None:
        """Take connections until the end; nothing wakes up for nothing, as it does in `serve_forever`."""
        with contextlib.suppress(OSError):  # the socket was shut down
            while True:
                self.process_request(*self.get_request())

    def end(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _RuntimeHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # An answer leaves in one packet; unbuffered, its headers wait 40 ms for a delayed ACK.
    wbufsize = -1
    server: _RuntimeServer

    def handle(self) -> None:
        # A killed process leaves its connection as it is.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        event = self.server.sandbox.next_event()
        if event is None:
            self._reply(410, b"", {})
            return
        headers = {
            "Lambda-Runtime-Aws-Request-Id": event.request_id,
            "Lambda-Runtime-Deadline-Ms": str(event.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": self.server.sandbox.arn,
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0",
            "Content-Type": "application/json",
        }
        self._reply(200, event.payload, headers)

    def do_POST(self) -> None:
        self.server.sandbox.answer(self.path, self._body())
        self._reply(202, b'{"status":"OK"}', {"Content-Type": "application/json"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        blocks = []
        while size := int(self.rfile.readline(), 16):
            blocks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(blocks)

    def _reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the Runtime API is internal."""


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()


def _signal_name(number: int) -> str:
    # Lambda's own wording, from the names that Go gives to signals.
    return {9: "killed", 11: "segmentation fault", 15: "terminated", 6: "aborted"}.get(number, str(number))
