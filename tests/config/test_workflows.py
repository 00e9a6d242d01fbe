"""`[workflows.NAME]` and its phases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paneview.config.schema import schema
from paneview.config.workflows.plans import Plan
from tests.config.support import lines, load


def test_the_default_workflow_is_there_without_a_table(tmp_path: Path) -> None:
    plan = load(tmp_path, "").workflows["default"]
    assert [(phase.name, phase.role, phase.needs) for phase in plan.phases] == [
        ("review", "reviewer", ()),
        ("plan", "planner", ("review",)),
        ("work", "worker", ("plan",)),
        ("compound", "compounder", ("work",)),
    ]
    assert [phase.edits for phase in plan.phases] == [False, False, True, True]
    assert plan.phases[0].schema["required"] == ["summary", "files", "new"]
    assert "{{task}}" in plan.phases[2].prompt
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_what_a_file_says(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("Do {{task}} after {{look.data.x}}, {{ not one }} ${HOME}")
    plan = load(
        tmp_path,
        """
        [roles.root]
        permissions = "full"
        dangerous = true
        hosts = ["pi-1"]
        [workflows.mine]
        isolation = "worktree"
        budget_usd = 2
        budget_tokens = 1000
        timeout = 3600
        setup = "make deps"
        copy_files = [".env"]
        ports = ["PORT"]
        [[workflows.mine.phases]]
        name = "last"
        role = "root"
        prompt_file = "p.md"
        needs = ["look", "other"]
        when = "look.data.x > 3 and not other.skipped"
        verify = "make test"
        retries = 3
        approve = "always"
        [[workflows.mine.phases]]
        name = "look"
        role = "reviewer"
        prompt = "look at {{task}}"
        needs = []
        output = "json"
        output_schema = { type = "object" }
        [[workflows.mine.phases]]
        name = "other"
        role = "worker"
        prompt = "{{look.text}}"
        """,
    ).workflows["mine"]
    assert [phase.name for phase in plan.phases] == ["look", "other", "last"]
    last = plan.phases[2]
    assert (last.needs, last.dangerous, last.hosts) == (("look", "other"), True, ("pi-1",))
    assert plan.phases[1].needs == ("look",)
    assert (plan.budget_usd, plan.ports, plan.copy) == (2, ("PORT",), (".env",))
    assert last.prompt.endswith("${HOME}")


TWO = (
    "[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = 'x'\n"
    "[[workflows.x.phases]]\nname = 'b'\nrole = 'r'\nprompt = 'x'\n"
)
JSON = "[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = 'x'\noutput = 'json'\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "workflow 'x' has no phases"),
        ("setup = 'make'", "setup is of no use without a worktree"),
        ("isolation = 'vm'", 'isolation is "vm", not one of "none", "worktree"'),
        ("[[workflows.x.phases]]\nname = 'a'\nrole = 'r'", "phase 'a' has neither prompt nor prompt_file"),
        ("[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = 'x'\nprompt_file = 'y'", "both prompt and"),
        ("[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt_file = 'no.md'", "prompt_file 'no.md': No such file"),
        ("[[workflows.x.phases]]\nname = 'a'\nprompt = 'x'", "has no 'role'"),
        ("[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = '{{b.text}}'", "{{b.text}} is neither"),
        ("[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = 'x'\nwhen = 'a.lines >'", "a value is missing"),
        ("[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = 'x'\nwhen = 'b.lines'", "'b' is not a phase before"),
        (f"{TWO}when = 'a.line > 5'", "when: 'a.line' says nothing (a phase has text, data, status, lines,"),
        (f"{TWO}when = 'a'", "when: 'a' says nothing"),
        ("[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = 'x'\nneeds = ['b']", "needs 'b', which is not one"),
        ("[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = 'x'\nneeds = ['a']", "needs itself"),
        (
            "[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = 'x'\nneeds = ['b']\n"
            "[[workflows.x.phases]]\nname = 'b'\nrole = 'r'\nprompt = 'x'",
            "in a circle: ",
        ),
        (
            "[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = 'x'\n"
            "[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = 'x'",
            "two phases called 'a'",
        ),
        ("[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = 'x'\nretrys = 1", "unknown key 'retrys'"),
        ("[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = 'x'\noutput_schema = {}", "of no use with text"),
        (f"{JSON}output_schema.required = true", "7:26: workflow 'x': output_schema: required must be a list"),
        (f"{JSON}output_schema.properties = []", "properties must be a table of schemas"),
        (f"{JSON}output_schema.properties.n.enum = 5", "properties.n.enum must be a list of values"),
        (f"{JSON}output_schema.properties.n = 'string'", "properties.n must be a schema"),
        (f"{JSON}output_schema = {{allOf = [true, {{type = ['int']}}]}}", "allOf.1.type must be one of string,"),
        (f"{JSON}output_schema.anyOf = 3", "anyOf must be a list of schemas"),
        (f"{JSON}output_schema.items.minLength = '3'", "items.minLength must be a number"),
        (f"{JSON}output_schema.const = 2026-01-01", "output_schema: is not JSON"),
        (f"{JSON}output_schema.default = nan", "output_schema: is not JSON"),
        (f"{JSON}output_schema = 'deep.json'", "deep.json: is not JSON: it is nested too deeply"),
        (f"{JSON}output_schema = 'deeper.json'", "deeper.json: it is nested more than 100 deep"),
        (f"{JSON}output_schema = 'broken.json'", "broken.json: items.type must be one of string"),
        (f'{JSON}output_schema = "a\\u0000b"', "output_schema holds a NUL character"),
        ("isolation = 'worktree'\ncopy_files = ['../x']", "is not below"),
        ("isolation = 'worktree'\nports = ['no port']", "can't be the name of an environment variable"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "deeper.json").write_text('{"not": ' * 300 + "{}" + "}" * 300)
    (tmp_path / "broken.json").write_text('{"items": {"type": "text"}}')
    found = lines(tmp_path, f"[workflows.x]\n{body}\n")
    assert any(message in line for line in found), found


def test_a_mistake_in_a_phase_has_its_line(tmp_path: Path) -> None:
    text = (
        "[workflows.x]\n[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt = 'x'\n"
        "[[workflows.x.phases]]\nname = 'b'\nrole = 'r'\nprompt = 'x'\nwhen = 'c'\n"
    )
    assert lines(tmp_path, text)[0].startswith("10:8: workflow 'x'")


def test_the_schema_describes_them() -> None:
    made = schema()
    assert made["$defs"]["PhaseTable"]["properties"]["verify"]["description"]
    assert made["properties"]["workflows"]["additionalProperties"] == {"$ref": "#/$defs/WorkflowTable"}
