"""From a parsed TOML document to a ``ProjectTable`` and every complaint about it, in words for people.

msgspec stops at the first mistake. So a document that it refuses is compared with its description of what is
allowed, which finds them all. The checks that need a model (cycles, ports, missing folders) would still have to
wait for the first round of corrections, so what was complained about is removed and the rest is checked again:
all mistakes are reported at once, but none that only follows from another.
"""

from __future__ import annotations

import copy
import difflib
import json
import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct, ValidationError, convert, inspect

from paneview.config.fields import STAND_IN
from paneview.config.models import ProjectTable
from paneview.config.names import NAME_LENGTH

Path = tuple[str | int, ...]
"""The place of something in a TOML document: keys, and indexes in lists."""
TABLES = {"tasks": "task", "workers": "worker", "runners": "runner", "roles": "role", "workflows": "workflow"}
"""Tables that hold named tables, and what one of these is called."""

# Words other tools use for the same thing; spelling mistakes are found by similarity.
_OTHER_WORDS = {
    "cmd": "command", "exec": "command", "run": "command", "environment": "env", "dotenv": "env_file",
    "working_dir": "cwd", "workdir": "cwd", "dir": "cwd", "needs": "depends_on", "requires": "depends_on",
    "instances": "replicas", "processes": "replicas", "cron": "schedule", "healthcheck": "health_check",
    "restart": "restart_policy", "signal": "stop_signal", "task": "tasks", "session": "name",
}  # fmt: skip
_KINDS: dict[type[inspect.Type], tuple[str, type | tuple[type, ...]]] = {
    inspect.StrType: ("a string", str),
    inspect.IntType: ("a whole number", int),
    inspect.FloatType: ("a number", (int, float)),
    inspect.BoolType: ("true or false", bool),
    inspect.ListType: ("a list", list),
    inspect.VarTupleType: ("a list", list),
    inspect.DictType: ("a table", dict),
    inspect.StructType: ("a table", dict),
}
MOST_KEYS_IN_A_HINT = 12
NUL = repr("\0").strip("'")


class Complaint(Struct, frozen=True):
    """A mistake by its path in the document; `at_key` points at the key, not at the value."""

    path: Path
    message: str
    hint: str | None = None
    at_key: bool = False
    missing: str | None = None
    """The key that is missing."""


def validate(data: Mapping[str, Any]) -> tuple[ProjectTable, list[Complaint]]:
    """The model of everything valid in `data`, and what is wrong with the rest."""
    if NUL not in repr(data):  # else one of its texts may hold it
        try:
            return convert(data, ProjectTable), []
        except ValidationError:
            pass
    rest = copy.deepcopy(dict(data))
    allowed = inspect.type_info(ProjectTable)
    complaints: list[Complaint] = []
    while found := list(_mistakes((), rest, allowed)):
        misspelt = {(c.path[:-1], c.hint) for c in found}
        for complaint in sorted(found, key=lambda c: c.missing is None):  # fill in before anything is removed
            if complaint.missing is None:
                _take_out(rest, complaint.path)
            else:
                _fill_in(rest, complaint.path, complaint.missing)
        # What is missing in a later round was removed in an earlier one.
        complaints += [
            complaint
            for complaint in found
            if complaint.missing is None
            or (not complaints and (complaint.path, f"did you mean {complaint.missing!r}?") not in misspelt)
        ]
    return convert(rest, ProjectTable), complaints


def nearest(word: str, words: Iterable[str]) -> str | None:
    """``did you mean 'command'?`` if one of `words` is like `word`."""
    choices = list(words)
    other = _OTHER_WORDS.get(word.lower())
    if other in choices:
        return f"did you mean {other!r}?"
    found = difflib.get_close_matches(word.lower().replace("-", "_"), choices, n=1)
    found = found or difflib.get_close_matches(word, choices, n=1)
    return f"did you mean {found[0]!r}?" if found else None


def _mistakes(path: Path, value: Any, allowed: inspect.Type) -> Iterator[Complaint]:
    """What is wrong with `value` at `path`, and with everything in it."""
    kinds = allowed.types if isinstance(allowed, inspect.UnionType) else (allowed,)
    match next((kind for kind in kinds if _is_a(value, kind)), None):
        case None:
            yield _wrong_type(path, value, kinds)
        case inspect.StructType(fields=fields):
            yield from _mistakes_of_table(path, value, {field.name: field for field in fields})
        case inspect.DictType(key_type=name, value_type=inner):
            for key, item in value.items():
                yield from _mistakes_of_name((*path, key), key, name)
                yield from _mistakes((*path, key), item, inner)
        case inspect.CollectionType(item_type=inner):
            for number, item in enumerate(value):
                yield from _mistakes((*path, number), item, inner)
        case inspect.LiteralType(values=choices) if value not in choices:
            yield _not_a_choice(path, value, choices)
        case inspect.StrType() as kind if not _fits(value, kind):
            yield _unfit(path, value)
        case (inspect.IntType() | inspect.FloatType()) as kind if wrong := _out_of_bounds(value, kind):
            yield Complaint(path, f"{_shown_key(path)} {wrong}")


def _is_a(value: object, kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.AnyType | inspect.LiteralType):
        return True
    _, types = _KINDS.get(type(kind), ("", ()))
    return isinstance(value, types) and isinstance(value, bool) is (types is bool)


def _mistakes_of_table(
    path: Path, table: Mapping[str, Any], fields: Mapping[str, inspect.Field]
) -> Iterator[Complaint]:
    for key, value in table.items():
        if key in fields:
            yield from _mistakes((*path, key), value, fields[key].type)
        else:
            yield _unknown_key(path, key, sorted(fields), value)
    for name, field in fields.items():
        if field.required and name not in table:
            yield Complaint(
                path, f"{_shown_key(path, whole=True)} has no {name!r}", at_key=True, missing=name
            )


def _mistakes_of_name(path: Path, name: str, kind: inspect.Type) -> Iterator[Complaint]:
    if isinstance(kind, inspect.StrType) and not _fits(name, kind):
        yield _not_a_name(path, f"{TABLES[str(path[0])]} name", name, at_key=True)


def _unknown_key(path: Path, key: str, known: list[str], value: object) -> Complaint:
    hint = nearest(key, known)
    if not path and isinstance(value, dict) and "command" in value:
        hint = f"a task is [tasks.{key}]"
    if hint is None:
        few = len(known) <= MOST_KEYS_IN_A_HINT
        hint = f"known: {', '.join(known)}" if few else "'paneview schema' describes all keys"
    where = f"in {_shown_key(path, whole=True)}" if path else "at the top of the file"
    return Complaint((*path, key), f"unknown key {key!r} {where}", hint, at_key=True)


def _not_a_name(path: Path, what: str, name: str, *, at_key: bool = False) -> Complaint:
    hint = f"letters, digits, _ and -, {NAME_LENGTH} at most, not starting with - and not digits alone"
    return Complaint(path, f"{what} {name!r} can't be used", hint, at_key=at_key)


def _not_a_choice(path: Path, value: object, choices: Iterable[Any]) -> Complaint:
    listed = ", ".join(json.dumps(choice) for choice in choices)
    message = f"{_shown_key(path)} is {shown(value)}, not one of {listed}"
    return Complaint(path, message, nearest(str(value), choices))


def _unfit(path: Path, text: str) -> Complaint:
    if "\0" in text:  # no file is called so, and no process can be given it
        return Complaint(path, f"{_shown_key(path)} holds a NUL character")
    if not text.strip():
        return Complaint(path, f"{_shown_key(path)} is empty")
    return _not_a_name(path, _shown_key(path), text)


def _fits(text: str, kind: inspect.StrType) -> bool:
    if "\0" in text or len(text) < (kind.min_length or 0) or len(text) > (kind.max_length or len(text)):
        return False
    return kind.pattern is None or re.search(kind.pattern, text) is not None


def _out_of_bounds(value: float, kind: inspect.IntType | inspect.FloatType) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if kind.gt is not None and not value > kind.gt:
        return f"must be more than {kind.gt:g}, not {shown(value)}"
    if kind.ge is not None and not value >= kind.ge:
        return f"must be at least {kind.ge:g}, not {shown(value)}"
    if kind.le is not None and not value <= kind.le:
        return f"must be at most {kind.le:g}, not {shown(value)}"
    return None


def _wrong_type(path: Path, value: object, kinds: Iterable[inspect.Type]) -> Complaint:
    wanted = " or ".join(dict.fromkeys(_KINDS[type(kind)][0] for kind in kinds if type(kind) in _KINDS))
    # A value in an environment may be a secret, even if it has the wrong type.
    given = "" if "env" in path else f", not {shown(value)}"
    hint = _hint_at_type(path, value, wanted)
    return Complaint(path, f"{_shown_key(path, whole=isinstance(value, dict))} must be {wanted}{given}", hint)


def _hint_at_type(path: Path, value: object, wanted: str) -> str | None:
    """How to write what was most likely meant, where that can be told."""
    hint = None
    match wanted, value:
        case ("a string", int() | float()):
            hint = "write it in quotes"
        case ("true or false", "true" | "false"):
            hint = "write it without quotes"
        case ("a whole number" | "a number", str()):
            if number := re.fullmatch(r"(\d+(?:\.\d+)?)( ?s)?", value):
                hint = f"write {number[1]}: seconds" if number[2] else "write it without quotes"
        case ("a list", str()):
            hint = f"write {json.dumps(_words(value) if path[-1] == 'command' else [value])}"
        case ("a table", str()) if len(path) == 2 and path[0] == "tasks":
            hint = 'write { command = "…" }'
        case ("a table", _) if len(path) == 1 and path[0] in TABLES:
            hint = f"write [{path[0]}.NAME]"
    return hint


def _words(command: str) -> list[str]:
    """A command line as the list of words that a shell would make of it."""
    try:
        return shlex.split(command) or [command]
    except ValueError:  # a quote without its other half
        return [command]


def _shown_key(path: Path, *, whole: bool = False) -> str:
    """The key as the reader knows it: ``port``, ``env.PORT``, ``depends_on[0]``, and task 'api' for a whole
    task."""
    if not path:
        return "the file"
    kind = TABLES.get(str(path[0]))
    if len(path) == 2 and kind:
        return f"{kind} {path[1]!r}"
    inner = path[2:] if kind and len(path) > 2 else path
    text = ""
    for part in inner:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return f"{text} of {kind} {path[1]!r}" if whole and kind else text


def shown(value: object) -> str:
    """A value as the file would write it, short."""
    if isinstance(value, str | bool | int | float):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 60 else text[:56] + " …" + text[-1]
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else f"the date or time {value}"


def _take_out(data: dict[str, Any], path: Path) -> None:
    """Remove what is at `path`; for an item of a list, the whole list, so that no other item changes its number."""
    here: Any = data
    holder, key = data, path[0]  # the innermost table on the way, and its key on the path
    for part in path:
        if isinstance(here, dict):
            if part not in here:  # removed with a table around it
                return
            holder, key = here, part
        here = here[part]
    if path[:-1] == ("env",) or path[2:-1] == ("env",):
        holder[str(key)] = f"$${{{key}}}"  # still set, to something that `Context.unfinished` recognises
    else:
        holder.pop(str(key), None)


def _fill_in(data: dict[str, Any], path: Path, key: str) -> None:
    """Put a stand-in for the missing `key`, so that the rest of its table is checked."""
    here: Any = data
    for part in path:
        here = here[part]
    here[key] = STAND_IN
