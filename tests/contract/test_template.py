"""The template fits the code that it deploys."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from coffre.settings import Settings

Resources = dict[str, dict[str, Any]]

MAJORS = (14, 15, 16, 17, 18)
PROVERS = [f"prove{major}" for major in MAJORS]
TOOLS = {"backup", "restore", *PROVERS}
FUNCTIONS = sorted(["backup", "health", "restore", "rotate", "verify", *PROVERS])


def names(requirements: list[str]) -> set[str]:
    """The distributions that ``requirements`` name."""
    return {re.split(r"[\s\[<>=!~;]", line)[0].lower() for line in requirements if line[:1].isalpha()}


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_every_function_is_found_under_the_stacks_name(functions: Resources, verb: str) -> None:
    assert functions[verb]["FunctionName"] == {
        "Fn::Sub": "${AWS::StackName}-" + verb.replace("prove", "prove-")
    }


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_every_function_runs_its_own_folder(
    template: dict[str, Any], functions: Resources, verb: str
) -> None:
    properties = template["Resources"][f"{verb.capitalize()}Function"]["Properties"]
    assert properties["CodeUri"] == f"functions/{verb.rstrip('0123456789')}"
    assert functions[verb]["Handler"] == "app.handler"
    assert (functions[verb]["Runtime"], functions[verb]["Architectures"]) == ("python3.13", ["x86_64"])


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_postgres_goes_only_where_it_is_run(template: dict[str, Any], verb: str) -> None:
    layers = [x["Ref"] for x in template["Resources"][f"{verb.capitalize()}Function"]["Properties"]["Layers"]]
    servers = [f"{verb.capitalize().replace('Prove', 'Proof')}Layer"] if verb in PROVERS else []
    assert layers == ["CommonLayer", *(["PostgresLayer"] if verb in TOOLS else []), *servers]


def test_the_environment_is_what_settings_read(functions: Resources) -> None:
    known = {field.alias for field in Settings.model_fields.values()}
    given = {
        verb: {name for name in properties["Environment"]["Variables"] if not name.startswith("PYTHON")}
        for verb, properties in functions.items()
    }
    calls = {
        "verify": {"COFFRE_PROVE_FUNCTION"},
        "restore": {"COFFRE_BACKUP_FUNCTION", "COFFRE_RESTORE_MACHINE"},
        "backup": {"COFFRE_BACKUP_MACHINE"},
        "hold": {"COFFRE_HOLD_SECONDS"},
        "capture": {"COFFRE_CAPTURE_SECONDS"},
        **{prover: {"COFFRE_SCRATCH_MB"} for prover in PROVERS},
        "load": {"COFFRE_LOAD_SECONDS"},
    }
    common = known - set().union(*calls.values())
    for verb in FUNCTIONS:
        assert given[verb] == common | calls.get(verb, set())


def test_byte_code_is_kept_where_workers_start_and_no_server_of_a_customers_content_runs(
    functions: Resources,
) -> None:
    kept = {
        verb
        for verb, properties in functions.items()
        if "PYTHONPYCACHEPREFIX" in properties["Environment"]["Variables"]
    }
    assert kept == {"backup", "capture", "load", "verify", "restore"}


def test_no_function_is_given_a_secret_in_its_environment(functions: Resources) -> None:
    for properties in functions.values():
        for name in properties["Environment"]["Variables"]:
            assert not re.search(r"SECRET|PASSWORD|TOKEN|URL", name)


def test_every_parameter_is_used(root: Path, template: dict[str, Any]) -> None:
    text = (root / "template.yaml").read_text()
    unused = [p for p in template["Parameters"] if not re.search(rf"!Ref {p}\b|\${{{p}}}", text)]
    assert unused == []


def test_every_environment_sets_parameters_that_exist(root: Path, template: dict[str, Any]) -> None:
    config = tomllib.loads((root / "samconfig.toml").read_text())
    for environment in ("dev", "prod"):
        for pair in config[environment]["deploy"]["parameters"]["parameter_overrides"]:
            name, value = pair.split("=", 1)
            choices = template["Parameters"][name].get("AllowedValues")
            assert choices is None or value in map(str, choices), pair
    assert config["prod"]["deploy"]["parameters"]["confirm_changeset"] is True


def test_stacks_beside_each_other_share_no_name(resources: Resources) -> None:
    for logical, resource in resources.items():
        for key, value in resource["Properties"].items():
            if key in {"FunctionName", "QueueName", "TopicName", "LogGroupName", "AlarmName", "BucketName"}:
                assert isinstance(value, dict), f"{logical}.{key} is the same in every stack"


def test_the_layer_holds_what_the_project_says_it_needs(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = names(project["dependencies"])
    assert names((root / "layers/common/requirements.in").read_text().splitlines()) == wanted
    pinned = (root / "layers/common/requirements.txt").read_text().splitlines()
    assert wanted <= names(pinned)


def test_everything_in_the_layer_is_pinned_by_hash(root: Path) -> None:
    text = (root / "layers/common/requirements.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line[:1].isalpha()]
    assert lines
    for line in lines:
        assert re.match(r"[\w.-]+==\S+\s+--hash=sha256:[0-9a-f]{64}", line), line[:80]
