"""docs/configuration.md names everything that can be configured, with its default."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from coffre.databases.registration import Limits, Registration, Retention
from localcloud.documents import parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
ROWS = {match[1]: match[2].strip() for match in re.finditer(r"^\| `(\w+)` \| ([^|]*) \|", PAGE, re.MULTILINE)}


@cache
def parameters() -> dict[str, Any]:
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = parse(text)["Parameters"]
    return found


@pytest.mark.parametrize("name", parameters())
def test_a_parameter_of_the_template_is_documented_with_its_default(name: str) -> None:
    default = str(parameters()[name]["Default"])

    assert ROWS.get(name) == (f"`{default}`" if default else "(empty)")


@pytest.mark.parametrize("name", [*Registration.model_fields, *Retention.model_fields])
def test_a_field_of_a_registration_is_documented_with_its_default(name: str) -> None:
    field = (Registration.model_fields | Retention.model_fields)[name]
    told = ROWS.get(name)

    if name == "retention":
        assert told == "see below"
    elif field.is_required():
        assert told == "(required)"
    elif field.default in (None, [], Limits()):
        assert told == "(empty)"
    else:
        values = field.default if isinstance(field.default, list) else [field.default]
        assert told == ", ".join(f"`{value}`" for value in values)


def links() -> list[tuple[str, str]]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [
        (page, link) for page in pages for link in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
    ]
    return [(str(page.relative_to(ROOT)), link) for page, link in found if "://" not in link]


@pytest.mark.parametrize(("page", "link"), links())
def test_a_link_leads_somewhere(page: str, link: str) -> None:
    assert (ROOT / page).parent.joinpath(link).exists()
