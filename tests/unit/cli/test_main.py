"""What every command promises: exit codes, one JSON document, no traceback for what can be expected."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coffre.errors import BadInputError, CoffreError, InvalidEventError, error_classes
from coffre.events.base import Event, parse
from coffre.events.restore import RestoreRequest
from coffre.events.rotate import HoldRequest
from coffre_cli import backups
from coffre_cli.errors import from_function, translate
from coffre_cli.reference import reference
from tests.unit.cli.conftest import FunctionError, Outcome, World

Run = Callable[..., Outcome]


def test_without_a_stack_the_error_says_how_to_get_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COFFRE_STACK", raising=False)
    monkeypatch.setenv("COFFRE_HOME", str(tmp_path))
    outcome = run("list", "shop")
    assert (outcome.code, outcome.out) == (2, "")
    assert "[no-stack]" in outcome.err
    assert "coffre local up --detach" in outcome.err
    document = run("list", "shop", "--json").document
    assert document["error"]["code"] == "no-stack"
    assert set(document["error"]) == {"code", "message", "advice", "type"}


def test_a_region_without_a_stack_is_refused_rather_than_ignored(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COFFRE_STACK", raising=False)
    assert run("list", "shop", "--region", "eu-west-1").code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["databases"],
        ["list"],
        ["list", "Shop"],
        ["show", "shop", "yesterday"],
        ["backup", "shop", "--type", "yearly"],
        ["backup", "shop", "--unknown"],
    ],
)
def test_bad_usage_exits_with_2(run: Run, arguments: list[str]) -> None:
    outcome = run(*arguments, "--json")
    assert outcome.code == 2
    assert outcome.document["error"]["code"] == "bad-usage"
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("hold shop latest --until 2026-13-01", "a date is written as 2026-11-20"),
        ("backup shop --type yearly", "'--type': 'yearly' is not one of"),
        (
            "databases add shop --url postgresql://u@h/x --retention decade=1",
            "hourly, daily, weekly, monthly",
        ),
        ("databases seal shop --key alias/shop", "arn:aws:kms:REGION:ACCOUNT:key/ID"),
        ("databases checks shop --file /does/not/exist", "/does/not/exist can't be read: No such file or"),
        ("restore shop latest --to - --yes", "standard input holds no URL"),
    ],
)
def test_bad_input_is_told_in_words_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch, command: str, told: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    world.register()
    outcome = world.run(*command.split())
    assert (outcome.code, told in outcome.err) == (2, True), outcome.err
    assert "Value error" not in outcome.err
    assert "%Y" not in outcome.err


def test_a_stack_that_does_not_exist_and_one_that_is_not_ours_are_told(world: World) -> None:
    for stack in ("nowhere", "other"):
        outcome = world.run("list", "shop", "--stack", stack, "--json")
        assert (outcome.code, outcome.document["error"]["code"]) == (2, "unknown-stack")


def test_missing_credentials_are_told_without_a_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    outcome = run("list", "shop", "--stack", "prod", "--region", "eu-west-1", "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, "no-credentials")
    assert "Traceback" not in outcome.err


def test_ctrl_c_exits_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backups, "find_stack", interrupted)
    assert run("list", "shop").code == 130


def test_ctrl_c_while_waiting_tells_that_the_function_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    world.functions.answers |= dict.fromkeys(("rotate", "backup", "verify"), lambda _: {})
    monkeypatch.setattr("threading.Thread.join", interrupted)
    monkeypatch.setattr("threading.Thread.is_alive", lambda _: True)
    outcome = world.run("rotate")
    assert (outcome.code, outcome.out) == (130, "")
    assert "goes on; only waiting for it has ended\n" in outcome.err
    for command, told in (
        (("backup", "shop", "--wait"), "`coffre status shop` follows it"),
        (("verify", "shop", "latest", "--wait"), "`coffre show shop latest` tells its verdict"),
    ):
        outcome = world.run(*command)
        assert (outcome.code, told in outcome.err) == (130, True)


def test_a_defect_shows_its_traceback_and_still_prints_json(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr(backups, "find_stack", broken)
    outcome = run("list", "shop", "--json")
    assert outcome.code == 1
    assert outcome.document["error"]["code"] == "internal"
    assert "Traceback" in outcome.err


@pytest.mark.parametrize("cls", error_classes().values(), ids=lambda cls: cls.__name__)
def test_each_error_of_a_function_comes_back_as_it_was(cls: type[CoffreError]) -> None:
    for error in (cls("it happened to shop"), cls("it happened to shop", "Do something else.")):
        back = from_function("f", {"errorType": cls.__name__, "errorMessage": str(error)})
        assert type(back) is cls
        assert (back.message, back.hint) == (error.message, error.hint)
        assert back.exit_code == (2 if issubclass(cls, BadInputError) else 1)


def test_an_error_that_is_not_ours_names_the_function() -> None:
    error = from_function("prod-backup", {"errorType": "Sandbox.Timedout", "errorMessage": "900 s"})
    assert error.code == "function-failed"
    assert "prod-backup" in error.message
    assert "Sandbox.Timedout" in error.message


def test_a_function_s_error_decides_the_exit_code(world: World) -> None:
    def lease(_: object) -> None:
        raise FunctionError("LeaseHeldError", "[lease-held] run 1 works on shop. Wait for it to end.")

    def unknown(_: object) -> None:
        raise FunctionError("UnknownDatabaseError", "[unknown-database] shop isn't registered. Look.")

    world.functions.answers["backup"] = lease
    outcome = world.run("backup", "shop", "--wait", "--json")
    assert (outcome.code, outcome.document["error"]["type"]) == (1, "LeaseHeldError")
    world.functions.answers["backup"] = unknown
    assert world.run("backup", "shop", "--wait").code == 2


def judged(model: type[Event]) -> Callable[[dict[str, Any]], None]:
    """A function that reads its event as the real one does."""

    def answer(event: dict[str, Any]) -> None:
        try:
            parse(model, event)
        except CoffreError as error:
            raise FunctionError(type(error).__name__, str(error)) from error
        raise AssertionError("it is valid")

    return answer


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("hold shop latest --reason " + "x" * 201, "--reason: "),
        ("hold shop latest --legal --until 2999-01-01", "a legal hold has no end of its own"),
        ("restore shop latest --table a.b --into pg_foo --yes", "--into: a schema's name has 1 to 63 bytes"),
        ("restore shop latest --table a.b --runs machine --yes", "--runs machine is for whole databases"),
    ],
)
def test_a_mistake_in_an_option_is_told_in_the_option_s_words(world: World, command: str, told: str) -> None:
    world.functions.answers |= {"rotate": judged(HoldRequest), "restore": judged(RestoreRequest)}
    fault = world.run(*command.split(), "--json").document["error"]
    assert fault["code"] == "bad-usage"
    assert fault["message"].startswith(told)
    assert "--help" in fault["advice"]
    assert "events/" not in fault["advice"]


def test_what_a_function_finds_out_later_is_bad_usage_too(world: World) -> None:
    def past(_: object) -> None:
        raise FunctionError("InvalidEventError", str(InvalidEventError("a hold until 2020 has ended")))

    world.functions.answers["rotate"] = past
    outcome = world.run("hold", "shop", "latest", "--until", "2020-01-01", "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, "bad-usage")
    assert outcome.document["error"]["message"] == "a hold until 2020 has ended"


def test_errors_of_others_are_not_translated() -> None:
    assert translate(ValueError("oh")) is None


def test_what_the_system_refuses_is_told_without_a_traceback(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for home in ("/proc/nothing/here", str(tmp_path / "file")):
        monkeypatch.setenv("COFFRE_HOME", home)
        outcome = run("local", "up", "--detach")
        assert (outcome.code, "[system-refused]" in outcome.err) == (1, True)
        assert home.partition("/here")[0] in outcome.err
        assert "Traceback" not in outcome.err
        assert run("list", "shop", "--json").document["error"]["code"] == "no-stack"


@pytest.mark.parametrize("option", ["--url", "--critical-table"])
def test_an_argument_that_is_not_text_is_refused_and_not_repeated(run: Run, option: str) -> None:
    outcome = run("databases", "add", "shop", option, "postgresql://u:hidden\udcff@h/x", "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (2, "bad-usage")
    assert "hidden" not in outcome.out + outcome.err


@pytest.mark.parametrize("options", ["", "--json"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
@pytest.mark.parametrize(
    ("command", "told"), [("local down", "output-lost"), ("local status", "local-cloud")]
)
def test_a_result_that_cannot_be_shown_is_told_on_standard_error(
    tmp_path: Path, command: str, options: str, where: str, told: str
) -> None:
    outcome = shell(tmp_path, f"{command} {options} {where}")
    assert outcome.returncode == 1
    assert outcome.stderr.startswith(f"[{told}] ")
    assert len(outcome.stderr.splitlines()) == 2, "what happened and what to do; nothing of the interpreter's"


@pytest.mark.parametrize("options", ["", "--json"])
def test_a_closed_standard_error_and_a_reader_who_has_gone_are_nobody_s_fault(
    tmp_path: Path, options: str
) -> None:
    outcome = shell(tmp_path, f"local down {options} 2>&-")
    assert (outcome.returncode, bool(outcome.stdout)) == (0, True)
    outcome = shell(tmp_path, f"local down {options} | true; exit ${{PIPESTATUS[0]}}")
    assert (outcome.returncode in (0, 1), outcome.stderr) == (True, "")


def shell(home: Path, words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell does."""
    coffre = f"{sys.executable} -c 'from coffre_cli.main import run; run()'"
    return subprocess.run(
        ["/bin/bash", "-c", f"{coffre} {words}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COFFRE_HOME": str(home)},
    )


def test_help_imports_nothing_that_it_does_not_need() -> None:
    heavy = {"boto3", "botocore", "rich", "pydantic", "moto", "localcloud", "pg8000"}
    code = (
        "import sys; from coffre_cli.main import main; main(['--help']); "
        f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_reference_says_what_the_help_says() -> None:
    committed = Path(__file__).parents[3] / "docs" / "commands.md"
    assert committed.read_text() == reference(), "python -m coffre_cli.reference > docs/commands.md"
