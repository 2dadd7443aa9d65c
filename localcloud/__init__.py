"""The project's SAM template running on this machine: a development tool.

``up`` brings it up in this process; ``start_detached``, ``status``, ``fire``, ``drain``, ``failures`` and
``down`` handle one that runs as a process of its own and are cheap to import.
"""

from typing import TYPE_CHECKING, Any

from localcloud.control import down, drain, failures, fire, start_detached, status
from localcloud.errors import LayerError, LocalCloudError, TemplateError, UnknownScheduleError

if TYPE_CHECKING:
    from localcloud.cloud import LocalCloud, up

__all__ = [
    "LayerError",
    "LocalCloud",
    "LocalCloudError",
    "TemplateError",
    "UnknownScheduleError",
    "down",
    "drain",
    "failures",
    "fire",
    "start_detached",
    "status",
    "up",
]


def __getattr__(name: str) -> Any:
    """Import what needs moto only when it is asked for: it takes seconds."""
    if name in ("LocalCloud", "up"):
        from localcloud.lean import share_descriptions, without_machine_types

        share_descriptions()
        with without_machine_types():
            from localcloud import cloud

        return getattr(cloud, name)
    raise AttributeError(name)
