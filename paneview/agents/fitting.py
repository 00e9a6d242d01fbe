"""Results that must be JSON: found in an agent's text, and checked against the phase's schema.

An agent's claim to follow a schema is not trusted: its result is checked here, whatever program it came from. Supported
is the part of JSON Schema that describes plain data (types, properties, items, enum, const, bounds, patterns, all / any
/ one / not); other keywords, and those with an invalid value, are ignored.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from paneview.config.nesting import is_too_deep
from paneview.config.workflows.resultschema import is_formed
from paneview.patterns import Pattern, PatternError

Schema = Mapping[str, Any]
MOST_TRIES = 5000  # brackets with which no JSON begins: each costs a look at all that is before it
FAR = 2000  # characters read in vain that count as another try
# What the stack ends was followed for 1,000 levels, from Python 3.14 on for 100,000: it counts as some tries more, and
# what begins in its next characters is too deep as well.
TRIES_DEEP, SKIPPED_DEEP = 200, 500
DEEPEST = 60  # levels; no sensible result has more
_FENCE = re.compile(
    r"^[ \t]*(```+|~~~+)[ \t]*(?:json|JSON)?[ \t]*\n(.*?)^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL
)


class NoJson(ValueError):  # noqa: N818 - a plain statement
    """There is no JSON in the text."""


def find_json(text: str) -> Any:
    """The JSON value in an agent's text: the whole text, else its last fenced block, else its last object or list.

    Raises NoJson.
    """
    for candidate in (text, *(match[2] for match in reversed(list(_FENCE.finditer(text))))):
        try:
            return _load(candidate)
        except ValueError:
            continue
    found: Any = None
    at, there, failed = 0, False, 0
    while failed < MOST_TRIES and (start := _next(text, at)) >= 0:
        try:
            value, at = _DECODER.raw_decode(text, start)
            if not is_too_deep({"": value}):
                found, there = value, True
        except json.JSONDecodeError as error:
            at, failed = start + 1, failed + 1 + (error.pos - start) // FAR
        except ValueError:
            at, failed = start + 1, failed + 1
        except RecursionError:
            at, failed = start + SKIPPED_DEEP, failed + TRIES_DEEP
    if not there or failed >= MOST_TRIES:  # what was found then may not be the last
        raise NoJson("there is no JSON in it")
    return found


def _load(text: str) -> Any:
    try:
        found = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("too deep") from None
    if is_too_deep({"": found}):  # for those that process it later
        raise ValueError("too deep")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not JSON")
    return number


_DECODER = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)


def _next(text: str, at: int) -> int:
    found = [place for place in (text.find("{", at), text.find("[", at)) if place >= 0]
    return min(found, default=-1)


def misfits(value: Any, schema: Schema | bool, path: str = "$", depth: int = 0) -> Iterator[str]:
    """A sentence for each way in which a value does not fit a schema."""
    if schema is False:
        yield f"{path} is not allowed"
    if isinstance(schema, bool) or not isinstance(schema, Mapping):
        return
    if depth > DEEPEST:
        yield f"{path} is nested too deeply"
        return
    if _says(schema, "type") and not _is_type(value, schema["type"]):
        yield f"{path} must be {_words(schema['type'])}, not {_kind(value)}"
        return
    for keyword, check in _CHECKS.items():
        if _says(schema, keyword):
            yield from check(value, schema, path, depth)


def _says(schema: Schema, keyword: str) -> bool:
    return keyword in schema and is_formed(keyword, schema[keyword])


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _is_type(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return any(_is_type(value, one) for one in wanted)
    if wanted == "integer":
        return isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    return bool(_kind(value) == wanted)


def _words(wanted: Any) -> str:
    return " or ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)


def _same(one: Any, other: Any) -> bool:
    return _kind(one) == _kind(other) and bool(one == other)


def _enum(value: Any, schema: Schema, path: str, _: int) -> Iterator[str]:
    if not any(_same(value, one) for one in schema["enum"]):
        yield f"{path} is not one of {json.dumps(schema['enum'])}"


def _const(value: Any, schema: Schema, path: str, _: int) -> Iterator[str]:
    if not _same(value, schema["const"]):
        yield f"{path} is not {json.dumps(schema['const'])}"


def _properties(value: Any, schema: Schema, path: str, depth: int) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in schema["properties"].items():
            if name in value:
                yield from misfits(value[name], inner, f"{path}.{name}", depth + 1)


def _additional(value: Any, schema: Schema, path: str, depth: int) -> Iterator[str]:
    if isinstance(value, dict):
        named = schema["properties"] if _says(schema, "properties") else ()
        for name in sorted(set(value) - set(named)):
            yield from misfits(value[name], schema["additionalProperties"], f"{path}.{name}", depth + 1)


def _required(value: Any, schema: Schema, path: str, _: int) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{path} has no {name!r}" for name in schema["required"] if name not in value)


def _items(value: Any, schema: Schema, path: str, depth: int) -> Iterator[str]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from misfits(item, schema["items"], f"{path}[{number}]", depth + 1)


def _bound(keyword: str, words: str) -> Callable[[Any, Schema, str, int], Iterator[str]]:
    def check(value: Any, schema: Schema, path: str, _: int) -> Iterator[str]:
        size = _size(value, keyword)
        limit = schema[keyword]
        if size is None:
            return
        too_small = keyword.startswith("min") and size < limit
        too_large = keyword.startswith("max") and size > limit
        if too_small or too_large:
            yield f"{path} must {words.format(limit)}, not {size}"

    return check


def _size(value: Any, keyword: str) -> float | None:
    if keyword.endswith("Length"):
        return len(value) if isinstance(value, str) else None
    if keyword.endswith("Items"):
        return len(value) if isinstance(value, list) else None
    if keyword.endswith("Properties"):
        return len(value) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


@lru_cache(64)
def _sought(pattern: str) -> Pattern:
    return Pattern(pattern)


def _pattern(value: Any, schema: Schema, path: str, _: int) -> Iterator[str]:
    try:
        if isinstance(value, str) and _sought(schema["pattern"]).find(value) < 0:
            yield f"{path} does not match {schema['pattern']!r}"
    except PatternError:  # ignore a pattern in another dialect of regular expressions
        return


def _all_of(value: Any, schema: Schema, path: str, depth: int) -> Iterator[str]:
    for inner in schema["allOf"]:
        yield from misfits(value, inner, path, depth + 1)


def _any_of(value: Any, schema: Schema, path: str, depth: int) -> Iterator[str]:
    if not any(_fits(value, inner, depth) for inner in schema["anyOf"]):
        yield f"{path} fits none of the alternatives"


def _one_of(value: Any, schema: Schema, path: str, depth: int) -> Iterator[str]:
    if sum(_fits(value, inner, depth) for inner in schema["oneOf"]) != 1:
        yield f"{path} must fit exactly one of the alternatives"


def _not(value: Any, schema: Schema, path: str, depth: int) -> Iterator[str]:
    if _fits(value, schema["not"], depth):
        yield f"{path} is what it must not be"


def _fits(value: Any, schema: Schema | bool, depth: int) -> bool:
    return next(misfits(value, schema, "$", depth + 1), None) is None


_CHECKS: dict[str, Callable[[Any, Schema, str, int], Iterator[str]]] = {
    "enum": _enum,
    "const": _const,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "pattern": _pattern,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    **{name: _bound(name, words) for name, words in (
        ("minimum", "be at least {}"), ("maximum", "be at most {}"),
        ("minLength", "have at least {} characters"), ("maxLength", "have at most {} characters"),
        ("minItems", "have at least {} items"), ("maxItems", "have at most {} items"),
        ("minProperties", "have at least {} keys"), ("maxProperties", "have at most {} keys"),
    )},
}  # fmt: skip


def example(schema: Any, depth: int = 0) -> Any:
    """The simplest value that fits a simple schema."""
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return None
    for known in ("const", "default"):
        if known in schema:
            return schema[known]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "null")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        named = schema.get("properties", {})
        wanted = schema.get("required", named)
        return {name: example(named.get(name, {"type": "string"}), depth + 1) for name in wanted}
    if kind == "array":
        return [example(schema.get("items"), depth + 1)] * int(schema.get("minItems", 0))
    plain = {"string": "demo".ljust(int(schema.get("minLength", 0)), "."), "boolean": False}
    return plain.get(kind, schema.get("minimum", 0) if kind in ("integer", "number") else None)
