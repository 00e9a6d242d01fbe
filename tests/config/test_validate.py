"""The models against documents: every refusal is reported, and a program that has used the models ends well."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import ValidationError, convert

from paneview.config.models import Hooks, ProjectTable, QueueTable, TaskTable, WorkerTable
from paneview.config.validate import validate
from paneview.config.workflows.runners import RoleTable, RunnerTable
from paneview.config.workflows.tables import PhaseTable, WorkflowTable
from tests.config.support import lines
from tests.texts import texts

PLACES: list[tuple[tuple[str | int, ...], type[Any]]] = [
    ((), ProjectTable),
    (("queue",), QueueTable),
    (("tasks", "web"), TaskTable),
    (("tasks", "web", "hooks"), Hooks),
    (("workers", "one"), WorkerTable),
    (("runners", "mine"), RunnerTable),
    (("roles", "mine"), RoleTable),
    (("workflows", "mine"), WorkflowTable),
    (("workflows", "mine", "phases", 0), PhaseTable),
]
KEYS = [(place, key) for place, model in PLACES for key in model.__struct_fields__]
MISSING = "<missing>"
VALUES = st.just(MISSING) | st.recursive(
    st.booleans()
    | st.integers()
    | st.sampled_from(
        [10**30, -(10**30), float("inf"), float("nan"), 0.5, -0.5, "", " ", "a b", "\n", "x", "no"]
    )
    | texts(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("a b"), inner, max_size=2),
    max_leaves=4,
)


def _document() -> dict[str, Any]:
    return {
        "queue": {},
        "tasks": {"web": {"command": "x", "hooks": {}}},
        "workers": {"one": {}},
        "runners": {"mine": {}},
        "roles": {"mine": {}},
        "workflows": {"mine": {"phases": [{"name": "a", "role": "worker", "prompt": "x"}]}},
    }


@given(where=st.sampled_from(KEYS), value=VALUES)
def test_what_the_models_refuse_is_told_with_its_place(where: tuple[Any, str], value: object) -> None:
    place, key = where
    document = here = _document()
    for part in place:
        here = here[part]
    if value == MISSING:
        here.pop(key, None)
    else:
        here[key] = value
    try:
        convert(document, ProjectTable)
    except ValidationError:
        _, complaints = validate(document)
        assert complaints
        for complaint in complaints:
            assert complaint.missing == key or complaint.path[: len(place) + 1] == (*place, key)
    else:
        assert validate(document)[1] == []


def test_a_phases_name_that_would_be_trouble(tmp_path: Any) -> None:
    text = "[[workflows.x.phases]]\nname = 'a b'\nrole = 'r'\nprompt = 'x'"
    assert lines(tmp_path, text)[0].startswith(
        "2:8: workflow 'x': phases[0].name 'a b' can't be used (letters, "
    )
    text = "[[workflows.x.phases]]\nrole = 'r'\nprompt = 'x'\n" * 2
    assert lines(tmp_path, text) == [
        "1:15: phases[0] of workflow 'x' has no 'name'",
        "4:15: phases[1] of workflow 'x' has no 'name'",
    ]


@pytest.mark.parametrize(
    "program",
    [
        "from paneview.config.validate import validate; validate({'tasks': {'web': {'command': 'x'}}})",
        "from paneview.config.schema import schema; schema()",
        "from paneview.cli.shapes import SHAPES; from paneview.config.jsonschema import json_schema\n"
        "for shape in SHAPES.values(): json_schema(shape)",
    ],
)
def test_a_program_that_has_used_the_models_ends_well(program: str) -> None:
    """msgspec 0.22 frees the pattern of `NotBlank | list[int]` twice; see `NotEmpty`."""
    env = {**os.environ, "PYTHONMALLOC": "debug"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, check=False, timeout=50
    )
    assert (done.returncode, done.stderr) == (0, b"")
