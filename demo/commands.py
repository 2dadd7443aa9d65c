"""The `coffre` command, run as a person would run it and read as a program does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from demo.errors import DemoError
from demo.show import Show

PROGRAM = [sys.executable, "-c", "from coffre_cli.main import run; run()"]
_ENDING_SECONDS = 15.0


class Coffre:
    """Runs commands against the local cloud of one state folder.

    Parameters
    ----------
    state:
        The local cloud's folder; the user's own ``.coffre`` stays out of this.
    """

    def __init__(self, state: Path, show: Show) -> None:
        self._show = show
        own = {
            name: value for name, value in os.environ.items() if name not in ("COFFRE_STACK", "AWS_PROFILE")
        }
        self._environment = {**own, "COFFRE_HOME": str(state)}

    def __call__(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        """Show a command, run it and return its answer.

        It runs with ``--json``; its progress bars and notes go to standard error as they come.

        Parameters
        ----------
        expect:
            The exit code that this command shall have.

        Raises
        ------
        DemoError
            If it has another one.
        """
        self._show.command(arguments)
        code, output = self._run([*PROGRAM, *arguments, "--json"])
        told = f"`coffre {' '.join(arguments[:2])}`"
        try:
            answer: dict[str, Any] = json.loads(output)
        except ValueError as error:
            raise DemoError(f"{told} ended with {code} and said: {output.strip() or 'nothing'}") from error
        if code != expect:
            raise DemoError(f"{told} ended with {code} instead of {expect}: {_reason(answer)}")
        return answer

    def _run(self, command: list[str]) -> tuple[int, str]:
        # In a session of its own, so that Ctrl-C reaches it once, from here, and it can tidy up.
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=self._environment,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate()
            except BaseException:
                process.send_signal(signal.SIGINT)
                try:
                    process.communicate(timeout=_ENDING_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                raise
        return process.returncode, output


def _reason(answer: dict[str, Any]) -> str:
    """What a command that ended badly answered."""
    fault = answer.get("error")
    if fault:
        return " ".join(filter(None, (f"[{fault['code']}] {fault['message']}", fault["advice"])))
    return json.dumps(answer, ensure_ascii=False)
