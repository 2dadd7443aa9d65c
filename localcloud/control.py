"""Starting, asking and stopping a local cloud that runs as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from localcloud.errors import LocalCloudError, UnknownScheduleError
from localcloud.processes import is_alive

_INFO_FILE = "local.json"
_LOG_FILE = "daemon.log"
_ANSWER_SECONDS = 60.0
_STOP_SECONDS = 60.0


def start_detached(
    template: Path, state: Path, port: int = 0, *, stack: str = "local", timeout: float = 600
) -> dict[str, Any]:
    """Start a local cloud in the background and wait until it is ready.

    Args:
        template: the ``template.yaml``.
        state: folder for its state; its log goes to ``daemon.log`` there.
        port: of the endpoints; 0 chooses a free one.
        stack: name of the stack.
        timeout: seconds to become ready; the first start assembles layers.

    Returns:
        The content of ``local.json``: ``endpoint``, ``region``, ``bucket``, ``table``, ``stack``,
        ``functions``, ``schedules``, ``outputs``, ``not_simulated``, ``pid``.

    Raises:
        LocalCloudError: one runs in this state folder already, or it can't start; the reason is in the text.
    """
    running = status(state)
    if running:
        raise LocalCloudError(f"a local cloud runs already at {running['endpoint']}; take it down first")
    state.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).resolve().parent.parent
    path = os.pathsep.join(filter(None, [str(here), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "localcloud", "--template", str(template), "--state", str(state)]
    command += ["--port", str(port), "--stack", stack]
    with (state / _LOG_FILE).open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
    try:
        return _when_ready(process, state, timeout)
    except BaseException:
        # Whoever is interrupted here would leave a process behind that nobody knows of.
        process.terminate()
        process.wait()
        raise


def _when_ready(process: subprocess.Popen[bytes], state: Path, timeout: float) -> dict[str, Any]:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if process.poll() is not None:
            raise LocalCloudError(f"the local cloud did not start: {_last_line(state / _LOG_FILE)}")
        if info := _read_info(state):
            return info
        time.sleep(0.05)
    raise LocalCloudError(f"the local cloud was not ready after {timeout:.0f} s; see {state / _LOG_FILE}")


def status(state: Path) -> dict[str, Any] | None:
    """What runs in a state folder.

    Returns:
        The content of ``local.json`` with ``failures`` and ``under_way``; None if nothing runs. The file of a
        daemon that was killed is removed.

    Raises:
        LocalCloudError: the daemon lives but doesn't answer.
    """
    info = _read_info(state)
    if info is None:
        return None
    try:
        answer: dict[str, Any] = _ask(info, "GET", "status")
    except OSError as error:
        if is_alive(info["pid"]):
            raise LocalCloudError(f"process {info['pid']} doesn't answer: {error}") from error
        (state / _INFO_FILE).unlink(missing_ok=True)
        return None
    return answer


def fire(state: Path, schedule_name: str, scheduled_time: str | None = None) -> dict[str, Any]:
    """Fire a schedule by hand; its target runs asynchronously.

    Args:
        state: folder of the running local cloud.
        schedule_name: as in ``schedules``.
        scheduled_time: ISO 8601 time for ``<aws.scheduler.scheduled-time>``; now if None.

    Returns:
        ``schedule``, ``target``, ``scheduled_time``, ``execution_id`` and ``input``.

    Raises:
        UnknownScheduleError: there is none of that name.
        LocalCloudError: nothing runs in that folder.
    """
    query = {"scheduled_time": scheduled_time} if scheduled_time else {}
    path = f"fire/{urllib.parse.quote(schedule_name, safe='')}?{urllib.parse.urlencode(query)}"
    answer: dict[str, Any] = _ask(_running(state), "POST", path)
    return answer


def drain(state: Path, timeout: float = 60) -> bool:
    """Wait until no asynchronous work is under way.

    Returns:
        Whether that came to pass within ``timeout`` seconds.

    Raises:
        LocalCloudError: nothing runs in that folder.
    """
    answer: dict[str, bool] = _ask(
        _running(state), "POST", f"drain?timeout={timeout}", timeout + _ANSWER_SECONDS
    )
    return answer["drained"]


def failures(state: Path) -> list[dict[str, str]]:
    """Deliveries and asynchronous invocations that failed for good.

    Returns:
        For each ``time``, ``kind``, ``target``, ``reason`` and ``event``.

    Raises:
        LocalCloudError: nothing runs in that folder.
    """
    answer: list[dict[str, str]] = _ask(_running(state), "GET", "failures")
    return answer


def down(state: Path) -> bool:
    """Stop the local cloud of a state folder with all its functions.

    Returns:
        Whether one was running.

    Raises:
        LocalCloudError: it doesn't stop.
    """
    info = status(state)
    if info is None:
        return False
    os.kill(info["pid"], signal.SIGTERM)
    end = time.monotonic() + _STOP_SECONDS
    while is_alive(info["pid"]):
        if time.monotonic() > end:
            raise LocalCloudError(f"the local cloud (process {info['pid']}) does not stop")
        time.sleep(0.02)
    return True


def _running(state: Path) -> dict[str, Any]:
    info = _read_info(state)
    if info is None:
        raise LocalCloudError(f"no local cloud runs in {state}; start one first")
    return info


def _read_info(state: Path) -> dict[str, Any] | None:
    try:
        info: dict[str, Any] = json.loads((state / _INFO_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return info


def _ask(info: dict[str, Any], method: str, path: str, timeout: float = _ANSWER_SECONDS) -> Any:
    request = urllib.request.Request(f"{info['endpoint']}/_localcloud/{path}", method=method)  # noqa: S310
    try:
        with _opener.open(request, timeout=timeout) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        text = json.load(error).get("error", str(error))
        raise (UnknownScheduleError(text) if error.code == 404 else LocalCloudError(text)) from error


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("localcloud: ") if lines else "it said nothing"


# The endpoint is on this machine: a proxy of the environment must not see it.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
