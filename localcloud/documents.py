"""Reading YAML with CloudFormation's short tags."""

from typing import Any

import yaml  # type: ignore[import-untyped]
from samtranslator.yaml_helper import intrinsics_multi_constructor


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """SAM's own, in a tenth of the time where libyaml is there."""


_Loader.add_multi_constructor("!", intrinsics_multi_constructor)


def parse(text: str) -> Any:
    """A document; each tag stands as the function that it is short for."""
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader's child
