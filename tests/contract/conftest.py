"""The template as the contract tests read it: as written, and as SAM translates it for CloudFormation."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from localcloud.documents import parse

ROOT = Path(__file__).parents[2]
CODE = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
MACHINE = "AWS::Serverless::StateMachine"


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    """``template.yaml`` as written; short forms such as ``!Ref x`` are ``{"Ref": "x"}``."""
    parsed: dict[str, Any] = parse((ROOT / "template.yaml").read_text())
    return parsed


@pytest.fixture(scope="session")
def resources(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What CloudFormation will be asked for, by logical id; conditions aren't resolved."""
    source = copy.deepcopy(template)
    for resource in source["Resources"].values():
        if (code := CODE.get(resource["Type"])) is not None:
            resource["Properties"][code] = "s3://bucket/key"
        if resource["Type"] == MACHINE:
            resource["Properties"]["DefinitionUri"] = "s3://bucket/key"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        translated: dict[str, Any] = Translator({}, Parser()).translate(source, {})
    found: dict[str, dict[str, Any]] = translated["Resources"]
    return found


@pytest.fixture(scope="session")
def functions(resources: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Properties of each function, by verb (``BackupFunction`` is ``backup``)."""
    return {
        logical.removesuffix("Function").lower(): resource["Properties"]
        for logical, resource in resources.items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
