"""A model as JSON Schema, in which the docstring under a field in the source is the field's description."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.inspect import CollectionType, DictType, StructType, Type, UnionType, type_info

from paneview.config.fields import FINITE


def json_schema(model: type[Struct]) -> dict[str, Any]:
    """The schema of `model`; its ``$defs`` hold those of the models it is made of."""
    _, definitions = msgspec.json.schema_components((model,), ref_template="#/$defs/{name}")
    for part in set(_parts(type_info(model))):
        definition = definitions[part.__name__]
        definition["description"] = inspect.getdoc(part)
        if not definition["required"]:
            del definition["required"]
        for field, text in _texts(part).items():
            definition["properties"][field]["description"] = text
        for properties in definition["properties"].values():
            for one in (properties, *properties.get("anyOf", ())):
                if one.get("maximum") == FINITE:  # JSON has no other numbers
                    del one["maximum"]
    whole = definitions.pop(model.__name__)
    return {**whole, "$defs": definitions} if definitions else whole


def _parts(kind: Type) -> Iterator[type[Struct]]:
    match kind:
        case StructType(cls=model, fields=fields):
            yield model
            for field in fields:
                yield from _parts(field.type)
        case UnionType(types=types):
            for one in types:
                yield from _parts(one)
        case CollectionType(item_type=inner) | DictType(value_type=inner):
            yield from _parts(inner)


def _texts(model: type) -> dict[str, str]:
    """The docstring under each field of a model, inherited ones included."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        body = _classes(base.__module__).get(base.__name__, []) if issubclass(base, Struct) else []
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                found[ast.unparse(field.target)] = " ".join(str(ast.literal_eval(text.value)).split())
    return found


@cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    nodes = ast.parse(inspect.getsource(sys.modules[module])).body
    return {node.name: node.body for node in nodes if isinstance(node, ast.ClassDef)}
