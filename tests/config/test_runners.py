"""`[runners.NAME]` and `[roles.NAME]`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from paneview.config.workflows.roles import PRESETS, Role, built_in_runners
from paneview.config.workflows.runners import Preset, RunnerTable
from tests.config.support import lines, load


def test_without_tables_every_preset_and_role_is_there(tmp_path: Path) -> None:
    agents = load(tmp_path, "").agents
    assert set(agents.runners) == {"claude", "codex", "gemini", "opencode", "aider", "demo"}
    assert agents.runners["demo"].parser == "claude"
    may = {
        name: agents.role(name).permissions for name in ("planner", "reviewer", "worker", "compounder", "new")
    }
    assert may == {
        "planner": "read",
        "reviewer": "read",
        "worker": "edit",
        "compounder": "edit",
        "new": "read",
    }
    assert agents.runner("planner").name == "claude"


def test_every_preset_may_be_named_in_a_file_and_so_may_how_it_is_read() -> None:
    assert get_args(Preset) == PRESETS
    (parsers, _) = get_args(get_type_hints(RunnerTable)["parser"])
    assert {*get_args(parsers)} == {runner.parser for runner in built_in_runners().values()} | {"plain"}


def test_what_a_file_says(tmp_path: Path) -> None:
    project = load(
        tmp_path,
        """
        [runners.codex]
        model = "${MODEL}"
        max_concurrent = 2
        env = { OPENAI_API_KEY = "very-secret" }
        [runners.mine]
        argv = ["./agent", "--json", "it's ${MODEL}"]
        parser = "opencode"
        stall_timeout = 0
        [runners.other]
        preset = "claude"
        argv = ["/opt/claude"]
        args = ["--verbose"]
        [roles.worker]
        runner = "mine"
        [roles.root]
        permissions = "full"
        dangerous = true
        hosts = ["pi-1"]
        [workers.w]
        role = ["worker", "planner"]
        [workers.v]
        runner = "other"
        """,
        {"MODEL": "big"},
    )
    agents = project.agents
    assert (agents.runners["codex"].model, agents.runners["codex"].max_concurrent) == ("big", 2)
    mine = agents.runners["mine"]
    assert (mine.preset, mine.argv, mine.parser) == ("", ("./agent", "--json", "it's big"), "opencode")
    assert agents.runner("worker").name == "mine"
    assert agents.runner("worker", "other").argv == ("/opt/claude",)
    assert agents.runner("planner").name == "codex"  # the first of the file
    assert agents.roles["root"] == Role("root", permissions="full", hosts=("pi-1",))
    assert "very-secret" in project.secret_values
    assert "--runner" not in project.tasks["w"].command
    assert "--runner other" in project.tasks["v"].command


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[runners.mine]",
            "1:10: runner 'mine' has neither preset nor argv (preset is one of claude, codex, gemini,",
        ),
        ('[runners.x]\npreset = "claud"', "2:10: runner 'x': preset is \"claud\", not one of"),
        (
            '[runners.claude]\nparser = "plain"',
            "2:1: parser beside preset 'claude', which has its own",
        ),
        ("[runners.claude]\ntimeout = 0", "2:11: runner 'claude': timeout must be more than 0, not 0"),
        (
            "[runners.claude]\nmodle = 'x'",
            "2:1: unknown key 'modle' in runner 'claude' (did you mean 'model'?)",
        ),
        ('[runners."a b"]\nargv = ["x"]', "1:10: runner name 'a b' can't be used"),
        ('[runners.x]\nargv = ["${NOT}"]', "2:8: runner 'x': ${NOT} is not set"),
        (
            '[roles.w]\npermissions = "full"',
            "2:15: role 'w': permissions = \"full\" lets an agent do anything",
        ),
        ('[roles.w]\npermissions = "write"', "2:15: role 'w': permissions is \"write\", not one of"),
        ('[roles.w]\nrunner = "cluade"', "2:10: role 'w': 'cluade' is not a runner (did you mean 'claude'?)"),
        ('[workers.w]\nrunner = "dmeo"', "2:10: worker 'w': 'dmeo' is not a runner (did you mean 'demo'?)"),
    ],
)
def test_mistakes_are_told_where_they_stand(tmp_path: Path, text: str, told: str) -> None:
    found = lines(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(told)
