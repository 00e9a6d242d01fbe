"""The JSON Schemas that results must fit: which values their keywords may have.

The keywords are those that results are checked by (`paneview.agents.fitting`); any others in a schema are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")


def _is_type(value: Any) -> bool:
    return value in _TYPES or (_is_list(value) and all(one in _TYPES for one in value))


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_schema(value: Any) -> bool:
    return isinstance(value, Mapping | bool)


_SCHEMA = (_is_schema, "a schema")
_SCHEMAS = (_is_list, "a list of schemas")
_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_is_type, f"one of {', '.join(_TYPES)}, or a list of them"),
    "enum": (_is_list, "a list of values"),
    "required": (_is_names, "a list of names"),
    "properties": (lambda value: isinstance(value, Mapping), "a table of schemas"),
    "additionalProperties": _SCHEMA,
    "items": (lambda value: _is_schema(value) or _is_list(value), "a schema"),  # in old drafts a list, by place
    "pattern": (lambda value: isinstance(value, str), "a regular expression"),
    "not": _SCHEMA,
    **dict.fromkeys(("allOf", "anyOf", "oneOf"), _SCHEMAS),
    **dict.fromkeys(
        ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        (_is_number, "a number"),
    ),
}  # fmt: skip


def is_formed(keyword: str, value: Any) -> bool:
    """Whether a known keyword may have this value."""
    return _FORMS[keyword][0](value)


def mistakes(schema: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The places where a schema is invalid, and what must be there."""
    if not _is_schema(schema):
        yield path, _SCHEMA[1]
    elif isinstance(schema, Mapping):
        for keyword, value in schema.items():
            if keyword not in _FORMS:
                continue
            if not is_formed(keyword, value):
                yield (*path, keyword), _FORMS[keyword][1]
                continue
            for at, inner in _inner(keyword, value):
                yield from mistakes(inner, (*path, keyword, *at))


def _inner(keyword: str, value: Any) -> list[tuple[tuple[str | int, ...], Any]]:
    """The schemas in a keyword's value, each after its path there."""
    match keyword, value:
        case "properties", _:
            return [((name,), inner) for name, inner in value.items()]
        case ("allOf" | "anyOf" | "oneOf", _) | ("items", list()):
            return [((number,), inner) for number, inner in enumerate(value)]
        case (("additionalProperties" | "items" | "not"), _):
            return [((), value)]
    return []
