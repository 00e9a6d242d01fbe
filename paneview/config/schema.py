"""The JSON Schema of the configuration file, for editors that complete and check it (taplo, VS Code and
others).

It comes from the models that check the file, so it can't say anything else; what JSON Schema can't express
(cycles, folders that exist) is left to `paneview check`.
"""

from __future__ import annotations

import ast
import inspect
from typing import Any

from paneview.config import models, runners, workflows

ROOT = "ProjectTable"
MODULES = (models, runners, workflows)  # where the models are


def schema() -> dict[str, Any]:
    """The schema, with a description for every key."""
    result = models.ProjectTable.model_json_schema()
    descriptions = _field_texts()
    for name, definition in [(ROOT, result), *result["$defs"].items()]:
        for field, properties in definition.get("properties", {}).items():
            properties.pop("title", None)  # the key again, in capitals
            _without_null(properties)
            properties["description"] = descriptions[name][field]
    for table in ("tasks", "workers", "runners", "roles", "workflows"):
        result["properties"][table]["additionalProperties"] = False  # names that do not match the pattern
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **result}


def _without_null(properties: dict[str, Any]) -> None:
    """TOML can't say null: a key that is not there stands for it. Nor do the defaults of a table's keys belong here."""
    if properties.get("default", ...) is None or isinstance(properties.get("default"), dict):
        del properties["default"]
    branches = [branch for branch in properties.get("anyOf", []) if branch != {"type": "null"}]
    if len(branches) == 1:
        del properties["anyOf"]
        properties.update(branches[0])
    elif branches:
        properties["anyOf"] = branches


def _field_texts() -> dict[str, dict[str, str]]:
    """For each model, the text under each of its fields, inherited ones included."""
    texts: dict[str, dict[str, str]] = {}
    sources = [node for module in MODULES for node in ast.parse(inspect.getsource(module)).body]
    for node in sources:
        if not isinstance(node, ast.ClassDef):
            continue
        own = texts[node.name] = {}
        for base in node.bases:
            own.update(texts.get(ast.unparse(base), {}))
        for field, text in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                own[ast.unparse(field.target)] = " ".join(str(ast.literal_eval(text.value)).split())
    return texts
