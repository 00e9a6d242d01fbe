from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from paneview.cli.shapes import SHAPES
from paneview.cli.verbs import PARSER
from paneview.config.jsonschema import json_schema
from tests.cli.support import run

if TYPE_CHECKING:
    from pathlib import Path


def test_every_command_that_prints_json_has_a_documented_shape() -> None:
    assert set(SHAPES) == {verb.name for verb in PARSER.load_all() if not verb.hidden} - {"schema"}


@pytest.mark.parametrize("name", SHAPES)
def test_every_key_is_described_by_its_schema(name: str) -> None:
    schema = json_schema(SHAPES[name])
    assert f"`{name}" in schema["description"] or name == "watch"
    assert schema["additionalProperties"] is False


def test_schemas_are_printed(project: Path) -> None:
    file = json.loads(run("schema", cwd=project).out)
    assert "tasks" in file["properties"]
    status = run("schema", "--output", "status", "--json", cwd=project)
    assert {"session", "running", "active_tasks", "tasks"} <= set(status.json["properties"])
    assert status.out.count("\n") == 1
    assert run("schema", "--output", "nothing", cwd=project).status == 2
