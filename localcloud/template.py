"""Reading a SAM template: what to hand to CloudFormation, where the code lies, what is left out."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.cloudformation.parsing import get_model_map
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from localcloud import documents, machines
from localcloud.errors import TemplateError

FUNCTION, LAYER = "AWS::Serverless::Function", "AWS::Serverless::LayerVersion"
MADE_HERE = {
    "AWS::Scheduler::Schedule",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::LayerVersion",
    "AWS::S3::BucketPolicy",
    machines.MACHINE,
}
"""Types that moto's CloudFormation lacks or gets wrong, and that ``deploy`` and ``layers`` see to."""

_LAYER_BUCKET = "localcloud-layers"


@dataclass(frozen=True)
class Layer:
    """A layer of the template.

    Attributes:
        logical: logical id.
        folder: its ContentUri.
        build_method: ``BuildMethod`` of its metadata, "" if the folder is the content of ``/opt`` as it is.
        variant: ``Variant`` of its metadata, "" if its folder makes one thing only.
    """

    logical: str
    folder: Path
    build_method: str
    variant: str = ""


@dataclass(frozen=True)
class Template:
    """A translated template.

    Attributes:
        cloudformation: the whole translation.
        deployable: the part that moto's CloudFormation can take.
        task_roots: folder of the code by the function's logical id.
        layers: the layers by logical id.
        layers_of: logical ids of the layers by the function's logical id, in order.
    """

    cloudformation: dict[str, Any]
    deployable: dict[str, Any]
    task_roots: dict[str, Path]
    layers: dict[str, Layer]
    layers_of: dict[str, list[str]]

    def not_simulated(self, logical: str) -> bool:
        """Whether nothing stands for a resource."""
        kind = self.cloudformation["Resources"][logical]["Type"]
        return logical not in self.deployable["Resources"] and kind not in MADE_HERE


def read(path: Path, region: str, parameters: Mapping[str, str]) -> Template:
    """Read and translate a template.

    Args:
        path: the ``template.yaml``; its folder is where relative paths start.
        region: AWS region that the translation is for.
        parameters: values of template parameters that differ from their defaults.

    Raises:
        TemplateError: the file is missing, no YAML, or no valid SAM template.
    """
    try:
        source = documents.parse(path.read_text())
    except OSError as error:
        raise TemplateError(f"{path}: {error.strerror}; name the template that is to run") from error
    except Exception as error:
        raise TemplateError(f"{path} is not YAML: {error}") from error
    if not isinstance(source, dict) or not isinstance(source.get("Resources"), dict):
        raise TemplateError(f"{path} has no Resources; is it a SAM template?")
    base = path.resolve().parent
    task_roots, layers = _take_folders(source, base)
    translated = _translate(source, region, parameters)
    resources: dict[str, Any] = translated["Resources"]
    layers_of = {
        name: [
            _layer_name(reference, resources) for reference in resources[name]["Properties"].get("Layers", [])
        ]
        for name in task_roots
    }
    deployable = _deployable(translated, set(get_model_map()) - MADE_HERE)
    return Template(translated, deployable, task_roots, layers, layers_of)


def _take_folders(source: dict[str, Any], base: Path) -> tuple[dict[str, Path], dict[str, Layer]]:
    """Note the folders of code and put stand-ins that the translation accepts in their place."""
    common = source.get("Globals", {}).get("Function", {})
    default = common.pop("CodeUri", None)
    task_roots, layers = {}, {}
    for name, resource in source["Resources"].items():
        properties = resource.setdefault("Properties", {})
        if resource.get("Type") == FUNCTION:
            uri = properties.pop("CodeUri", default)
            if not isinstance(uri, str) or not (base / uri).is_dir():
                raise TemplateError(f"{name}: CodeUri {uri!r} is not a folder beside the template")
            task_roots[name] = base / uri
            properties["InlineCode"] = "# The local cloud runs the source folder."
        elif resource.get("Type") == LAYER:
            uri = properties.get("ContentUri")
            if not isinstance(uri, str) or not (base / uri).is_dir():
                raise TemplateError(f"{name}: ContentUri {uri!r} is not a folder beside the template")
            metadata = resource.get("Metadata", {})
            method, variant = metadata.get("BuildMethod", ""), str(metadata.get("Variant", ""))
            layers[name] = Layer(name, base / uri, method, variant)
            properties["ContentUri"] = f"s3://{_LAYER_BUCKET}/{name}"
        elif resource.get("Type") == machines.SOURCE and "DefinitionUri" in properties:
            properties["Definition"] = _definition(name, base, properties.pop("DefinitionUri"))
    return task_roots, layers


def _definition(name: str, base: Path, uri: Any) -> dict[str, Any]:
    if not isinstance(uri, str) or not (base / uri).is_file():
        raise TemplateError(f"{name}: DefinitionUri {uri!r} is not a file beside the template")
    return machines.read_definition(base / uri)


def _translate(source: dict[str, Any], region: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    session = boto3.Session(region_name=region)
    try:
        translated: dict[str, Any] = Translator({}, Parser(), boto_session=session).translate(
            source, dict(parameters)
        )
    except InvalidDocumentException as error:
        causes = "; ".join(str(cause.message) for cause in error.causes)
        raise TemplateError(f"the template is not valid SAM: {causes}") from error
    return translated


def _layer_name(reference: Any, resources: Mapping[str, Any]) -> str:
    """The logical id in the source, where the translation has appended a hash."""
    resource = resources.get(str(reference.get("Ref"))) if isinstance(reference, dict) else None
    if resource is None:
        raise TemplateError(f"layer {reference!r}: only layers of the template itself can be mounted")
    return str(resource["Properties"]["Content"]["S3Key"])


def _deployable(translated: dict[str, Any], supported: set[str]) -> dict[str, Any]:
    """The template without what moto can't take, and without references to it."""
    made = copy.deepcopy(translated)
    made.pop("Outputs", None)
    left_out = {n for n, r in made["Resources"].items() if r["Type"] not in supported}
    kept: dict[str, Any] = {}
    for name, resource in made["Resources"].items():
        if name in left_out:
            continue
        # moto needs no order: it creates a resource when the first reference asks for it.
        resource.pop("DependsOn", None)
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"].pop("Layers", None)
        kept[name] = without_references(resource, left_out)
    return {**made, "Resources": kept}


def without_references(node: Any, left_out: set[str]) -> Any:
    """A copy in which references to some logical ids are plain text."""
    if isinstance(node, list):
        return [without_references(item, left_out) for item in node]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        (name, value), *_ = node.items()
        if name == "Ref" and value in left_out:
            return value
        if name == "Fn::GetAtt":
            logical = value[0] if isinstance(value, list) else value.split(".")[0]
            return _stand_in(logical) if logical in left_out else node
        if name == "Fn::Sub" and isinstance(value, str):
            return {"Fn::Sub": _substitute(value, left_out)}
    return {key: without_references(value, left_out) for key, value in node.items()}


def _substitute(text: str, left_out: set[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        logical, attribute = match[1], match[2]
        if logical not in left_out:
            return match[0]
        return _stand_in(logical) if attribute else logical

    return re.sub(r"\$\{(\w+)(\.[\w.]+)?\}", replace, text)


def _stand_in(logical: str) -> str:
    return f"arn:aws:not-simulated:::{logical}"
