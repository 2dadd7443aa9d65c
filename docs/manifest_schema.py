"""Writes ``docs/manifest.schema.json``: the manifest as a JSON Schema, from the model that reads it.

Usage: ``python docs/manifest_schema.py > docs/manifest.schema.json``
"""

from __future__ import annotations

import json

from coffre.vault.layout import FORMAT
from coffre.vault.manifest import Manifest


def manifest_schema() -> str:
    """The schema as the file's text."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Manifest of a Coffre vault, format {FORMAT}",
        **{key: value for key, value in Manifest.model_json_schema().items() if key != "title"},
    }
    return json.dumps(schema, indent=1) + "\n"


if __name__ == "__main__":
    print(manifest_schema(), end="")
