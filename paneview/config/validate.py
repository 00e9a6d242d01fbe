"""From a parsed TOML document to a ``ProjectTable`` and every complaint about it, in words for people.

pydantic reports all of a document's mistakes but then gives no model, and the checks that need one (cycles,
ports, missing folders) would only be seen after the first round of corrections. So what was complained about
is taken out and the rest is validated again: all mistakes are told at once, and none is told that only
follows from another.
"""

from __future__ import annotations

import copy
import difflib
import json
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from paneview.config.fields import NAME_LENGTH
from paneview.config.models import (
    Dependency,
    Hooks,
    ProjectTable,
    QueueTable,
    SecretSettings,
    TaskTable,
    TmuxSettings,
    WebSocketSettings,
    WorkerTable,
)
from paneview.config.runners import RoleTable, RunnerTable
from paneview.config.workflows import PhaseTable, WorkflowTable

Path = tuple[str | int, ...]
"""Where something stands in a TOML document: keys, and numbers in lists."""

# Words other tools use for the same thing; spelling mistakes are found by likeness.
_OTHER_WORDS = {
    "cmd": "command", "exec": "command", "run": "command", "environment": "env", "dotenv": "env_file",
    "working_dir": "cwd", "workdir": "cwd", "dir": "cwd", "needs": "depends_on", "requires": "depends_on",
    "instances": "replicas", "processes": "replicas", "cron": "schedule", "healthcheck": "health_check",
    "restart": "restart_policy", "signal": "stop_signal", "task": "tasks", "session": "name",
}  # fmt: skip
_KINDS = {
    "string_type": "a string", "int_type": "a whole number", "float_type": "a number",
    "bool_type": "true or false", "list_type": "a list", "dict_type": "a table", "model_type": "a table",
}  # fmt: skip
_LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
}
STAND_IN = ":"  # a command that does nothing, and the name of no task
_TABLES: dict[str, type[BaseModel]] = {
    "hooks": Hooks,
    "depends_on": Dependency,
    "tmux": TmuxSettings,
    "websocket": WebSocketSettings,
    "secrets": SecretSettings,
    "queue": QueueTable,
    "phases": PhaseTable,
}
_NAMED: dict[object, tuple[str, type[BaseModel]]] = {
    "tasks": ("task", TaskTable),
    "workers": ("worker", WorkerTable),
    "runners": ("runner", RunnerTable),
    "roles": ("role", RoleTable),
    "workflows": ("workflow", WorkflowTable),
}
"""Tables of tables by name."""
MOST_KEYS_IN_A_HINT = 12


@dataclass(frozen=True, slots=True)
class Complaint:
    """A mistake by its path in the document; `at_key` points at the key, not at the value."""

    path: Path
    message: str
    hint: str | None = None
    at_key: bool = False
    missing: str | None = None
    """The key that is not there."""


def validate(data: Mapping[str, Any]) -> tuple[ProjectTable, list[Complaint]]:
    """The model of all that is right in `data`, and what is wrong with the rest."""
    complaints: list[Complaint] = []
    rest = dict(data)
    while True:
        try:
            return ProjectTable.model_validate(rest), complaints
        except ValidationError as error:
            found = _complaints(error, rest)
        if not complaints:
            rest = copy.deepcopy(rest)
        misspelt = {(c.path[:-1], c.hint) for c in found}
        for complaint in sorted(found, key=lambda c: c.missing is None):  # fill in before anything is gone
            if complaint.missing is None:
                _take_out(rest, complaint.path)
            else:
                _fill_in(rest, complaint.path, complaint.missing)
        # What is missing in a later round was taken out in an earlier one.
        complaints += [
            complaint
            for complaint in found
            if complaint.missing is None
            or (not complaints and (complaint.path, f"did you mean {complaint.missing!r}?") not in misspelt)
        ]


def nearest(word: str, words: Iterable[str]) -> str | None:
    """``did you mean 'command'?`` if one of `words` is like `word`."""
    choices = list(words)
    other = _OTHER_WORDS.get(word.lower())
    if other in choices:
        return f"did you mean {other!r}?"
    found = difflib.get_close_matches(word.lower().replace("-", "_"), choices, n=1)
    found = found or difflib.get_close_matches(word, choices, n=1)
    return f"did you mean {found[0]!r}?" if found else None


def _complaints(error: ValidationError, data: Mapping[str, Any]) -> list[Complaint]:
    by_path: defaultdict[Path, list[ErrorDetails]] = defaultdict(list)
    for details in error.errors(include_url=False):
        by_path[_document_path(details, data)].append(details)
    # Of a union, the branches that have the wrong type altogether are silent when another one says more.
    deeper = {path[:length] for path in by_path for length in range(len(path))}
    complaints = []
    for path, group in by_path.items():
        kinds = [details for details in group if details["type"] in _KINDS]
        if len(kinds) < len(group):
            telling = [details for details in group if details not in kinds]
            complaints += [_complaint(path, details) for details in telling[:1]]
        elif path not in deeper:
            complaints.append(_wrong_type(path, kinds))
    return complaints


def _document_path(details: ErrorDetails, data: Mapping[str, Any]) -> Path:
    """pydantic's location without the names of models and union branches, which the document does not
    have."""
    path: Path = ()
    here: Any = data
    for part in details["loc"]:
        in_table = isinstance(part, str) and isinstance(here, Mapping) and part in here
        if in_table or (isinstance(part, int) and isinstance(here, list) and part < len(here)):
            here = here[part]
            path = (*path, part)
    return path


def _complaint(path: Path, details: ErrorDetails) -> Complaint:
    if details["loc"][-1] == "[key]":
        hint = f"letters, digits, _ and -, {NAME_LENGTH} at most, not starting with - and not digits alone"
        return Complaint(path, f"{_NAMED[path[0]][0]} name {path[-1]!r} can't be used", hint, at_key=True)
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        key = str(details["loc"][-1])
        return Complaint(path, f"{_shown_key(path, whole=True)} has no {key!r}", at_key=True, missing=key)
    if kind == "literal_error":
        return _not_a_choice(path, details)
    return Complaint(path, f"{_shown_key(path)} {_out_of_bounds(details)}")


def _unknown_key(path: Path) -> Complaint:
    known, where = _known_keys(path)
    hint = nearest(str(path[-1]), known)
    if hint is None:
        few = len(known) <= MOST_KEYS_IN_A_HINT
        hint = f"known: {', '.join(known)}" if few else "'paneview schema' describes all keys"
    return Complaint(path, f"unknown key {path[-1]!r}{where}", hint, at_key=True)


def _not_a_choice(path: Path, details: ErrorDetails) -> Complaint:
    # pydantic joins the choices: 'a', 'b' or 'c'
    choices = [part.strip("'") for part in details["ctx"]["expected"].replace(" or ", ", ").split(", ")]
    value = details["input"]
    listed = ", ".join(json.dumps(choice) for choice in choices)
    return Complaint(
        path, f"{_shown_key(path)} is {shown(value)}, not one of {listed}", nearest(str(value), choices)
    )


def _out_of_bounds(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return "is empty"
    if kind in _LIMITS:
        words, name = _LIMITS[kind]
        return f"must be {words} {context[name]:g}, not {shown(details['input'])}"
    if kind == "finite_number":
        return "must be a finite number"
    return f"can't be {shown(details['input'])}: {details['msg'][:1].lower()}{details['msg'][1:]}"


def _wrong_type(path: Path, group: list[ErrorDetails]) -> Complaint:
    wanted = " or ".join(dict.fromkeys(_KINDS[details["type"]] for details in group))
    value = group[0]["input"]
    # What stands in an environment may be a secret, also when it has the wrong type.
    given = "" if "env" in path else f", not {shown(value)}"
    hint = None
    if wanted == "a string" and isinstance(value, int | float):
        hint = "write it in quotes"
    elif isinstance(value, str) and wanted in {"a whole number", "a number", "true or false"}:
        hint = "write it without quotes"
    elif wanted == "a list" and isinstance(value, str):
        hint = f"write {json.dumps(_words(value) if path[-1] == 'command' else [value])}"
    return Complaint(path, f"{_shown_key(path, whole=isinstance(value, dict))} must be {wanted}{given}", hint)


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
    kind = _NAMED[path[0]][0] if path[0] in _NAMED else None
    if len(path) == 2 and kind:
        return f"{kind} {path[1]!r}"
    inner = path[2:] if kind and len(path) > 2 else path
    text = ""
    for part in inner:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return f"{text} of {kind} {path[1]!r}" if whole and kind else text


def _known_keys(path: Path) -> tuple[list[str], str]:
    """The keys that may stand where `path` stands, and in what."""
    if len(path) == 1:
        return sorted(ProjectTable.model_fields), " at the top of the file"
    table = [part for part in path[:-1] if isinstance(part, str)]
    model = _NAMED[table[0]][1] if len(table) == 2 and table[0] in _NAMED else _TABLES[table[-1]]
    return sorted(model.model_fields), f" in {_shown_key(path[:-1], whole=True)}"


def shown(value: object) -> str:
    """A value as the file would write it, short."""
    if isinstance(value, str | bool | int | float):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 60 else text[:56] + " …" + text[-1]
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else f"the date or time {value}"


def _take_out(data: dict[str, Any], path: Path) -> None:
    """Remove what stands at `path`; of a list, the whole list, since its other items keep their numbers."""
    here: Any = data
    holder, key = data, path[0]  # the innermost table on the way, and what in it leads on
    for part in path:
        if isinstance(here, dict):
            if part not in here:  # went with a table around it
                return
            holder, key = here, part
        here = here[part]
    if path[:-1] == ("env",) or path[2:-1] == ("env",):
        holder[str(key)] = f"$${{{key}}}"  # set, to something that `Context.unfinished` knows
    else:
        holder.pop(str(key), None)


def _fill_in(data: dict[str, Any], path: Path, key: str) -> None:
    """Stand-in for what is missing, so that the rest of its table is looked at."""
    here: Any = data
    for part in path:
        here = here[part]
    here[key] = STAND_IN
