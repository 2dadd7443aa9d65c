"""The local cloud as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group

from coffre_cli.tables import facts, table


def local_cloud(info: Mapping[str, Any]) -> Group:
    """Where a local cloud is, and what it holds."""
    failures: Sequence[Mapping[str, str]] = info.get("failures", [])
    summary = facts(
        {
            "endpoint": info["endpoint"],
            "stack": info["stack"],
            "bucket": info["bucket"],
            "table": info["table"],
            "functions": ", ".join(sorted(info["functions"].values())),
            "schedules": ", ".join(sorted(info["schedules"])),
            "process": info["pid"],
            "under way": info.get("under_way", 0),
        }
    )
    rows = ((item["time"], item["kind"], item["target"], item["reason"]) for item in failures)
    return Group(summary, *([table("failed", "kind", "target", "why", rows=rows)] if failures else []))
