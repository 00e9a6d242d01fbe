"""The JSON Schema of the configuration file, for editors that complete and check it (taplo, VS Code and
others).

It is made from the models that check the file, so the two can't disagree; what JSON Schema can't express
(cycles, folders that exist) is left to `paneview check`.
"""

from __future__ import annotations

from typing import Any

from paneview.config.jsonschema import json_schema
from paneview.config.models import ProjectTable


def schema() -> dict[str, Any]:
    """The schema, with a description for every key."""
    result = json_schema(ProjectTable)
    result["title"] = "paneview.toml"
    for definition in (result, *result["$defs"].values()):
        for properties in definition["properties"].values():
            _without_null(properties)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **result}


def _without_null(properties: dict[str, Any]) -> None:
    """Remove null, which TOML lacks (a missing key stands for it), and defaults that are whole tables."""
    if properties.get("default", ...) is None or isinstance(properties.get("default"), dict):
        del properties["default"]
    branches = [branch for branch in properties.get("anyOf", []) if branch != {"type": "null"}]
    if len(branches) == 1:
        del properties["anyOf"]
        properties.update(branches[0])
    elif branches:
        properties["anyOf"] = branches
