"""What lets moto start in half of its time and stay small: nothing of it changes what an endpoint answers.

moto's Step Functions import its EC2, which reads catalogues of machines for all regions and describes itself
by botocore's largest file, three times.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from botocore.loaders import JSONFileLoader


@cache
def share_descriptions() -> None:
    """Let all of botocore's sessions of this process share what they read: each reads megabytes of JSON."""
    known: dict[str, Any] = {}
    read = JSONFileLoader.load_file

    def load_file(loader: JSONFileLoader, path: str) -> Any:
        if path not in known:
            known[path] = read(loader, path)
        return known[path]

    JSONFileLoader.load_file = load_file  # type: ignore[assignment]


@cache
def keep_no_list_of_instances() -> None:
    """Let moto of this process forget what nothing needs any more: its dashboard lists all that ever was."""
    from moto.core.common_models import BaseModel

    BaseModel.__new__ = lambda kind, *_, **__: object.__new__(kind)  # type: ignore[method-assign]


@contextmanager
def without_machine_types() -> Iterator[None]:
    """Let modules that are imported meanwhile have no catalogues of EC2: nothing here runs on machines."""
    from moto.utilities import utils

    read = utils.load_resource

    def load_resource(resource: str) -> Any:
        return {} if resource.startswith("ec2/") else read(resource)

    utils.load_resource = load_resource
    try:
        yield
    finally:
        utils.load_resource = read
