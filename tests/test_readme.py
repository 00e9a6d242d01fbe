"""The README: its tables must match the program, and each of its commands is run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest

import paneview.tui
from paneview.cli.shapes import SHAPES
from paneview.cli.verbs import PARSER
from paneview.config.jsonschema import json_schema
from paneview.config.schema import schema
from paneview.tui.keys.bindings import key_text
from tests.cli.support import run
from tests.harness import Sandbox, free_port, wait_until
from tests.terminal import Screen

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent
# In the order of the README's table.
TASK_KEYS = [
    "command", "description", "group", "auto_start", "cwd", "env", "env_file", "depends_on", "port", "health_check",
    "health_url", "health_status", "health_body", "health_tcp", "health_log", "health_interval", "health_timeout",
    "health_retries", "ready_timeout", "restart_policy", "max_restarts", "restart_backoff", "stop_signal",
    "stop_grace_period", "log_file", "log_max_size", "log_max_files", "log_max_age", "input_patterns",
    "replicas", "schedule", "hooks",
]  # fmt: skip
# Commands that take over the terminal until the person leaves, and a text that they show.
INTERACTIVE = {"paneview": "leave", "paneview attach shell": ">>>", "paneview logs -f": "web"}


def block(mark: str) -> str:
    """The fenced block under the comment ``<!-- mark -->``."""
    found = re.search(rf"<!-- {mark} -->\n```\w*\n(.*?)```", README, re.DOTALL)
    assert found, f"README.md has no block <!-- {mark} -->"
    return found[1]


def table(head: str) -> list[list[str]]:
    """The cells of the Markdown table with this first line."""
    assert head in README, f"README.md has no table {head}"
    lines = README[README.index(head) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def config_table(fields: dict[str, Any], keys: list[str]) -> str:
    """The Markdown table of these keys, from the schema that checks the file."""
    rows = [f"| `{key}` | {_default(fields[key])} | {fields[key]['description']} |" for key in keys]
    return "\n".join(["| key | default | |", "| --- | --- | --- |", *rows])


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "" if value in (None, "", {}, []) or isinstance(value, dict) else f"`{json.dumps(value)}`"


# Its tables


def test_the_configuration_is_documented_as_it_is() -> None:
    whole = schema()
    project, task = whole["properties"], whole["$defs"]["TaskTable"]["properties"]
    assert set(TASK_KEYS) == set(task)
    for text in (config_table(project, list(project)), config_table(task, TASK_KEYS)):
        assert text in README, f"README.md should say:\n{text}"


def test_the_keys_of_the_json_are_those_of_the_shapes() -> None:
    for commands, keys in table('| command | `"ok": true` and |'):
        for command in re.findall(r"`(\w+)`", commands):
            known = json.dumps(json_schema(SHAPES[command]))
            missing = [key for key in re.findall(r"`(\w+)`", keys) if f'"{key}"' not in known]
            assert not missing, command


def test_the_keys_of_the_screen_are_bound() -> None:
    bound = {key_text(key) for binding in _bindings() for key in binding.key.split(",")}
    told = {key for keys, _ in table("| key | |") for key in re.findall(r"`([^`]+)`", keys)}
    assert {key.replace("Ctrl-", "ctrl+") for key in told} <= bound


def _bindings() -> Iterator[Any]:
    for module in walk_packages(paneview.tui.__path__, "paneview.tui."):
        for thing in vars(import_module(module.name)).values():
            yield from getattr(thing, "BINDINGS", ()) if isinstance(thing, type) else ()


def test_every_command_it_names_exists_and_no_picture_is_missing() -> None:
    named = set(re.findall(r"`paneview ([a-z]+)", README))
    assert named <= {name for verb in PARSER.load_all() for name in (verb.name, *verb.aliases)}
    titles = re.findall(r"^#+ (.*)", README, re.MULTILINE)
    places = {"#" + re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert link in places or (ROOT / link).is_file(), link


# Its commands


def test_the_two_lines_for_a_fresh_machine_install_alike() -> None:
    """`.ci/run` runs the second line on a fresh machine; the first one differs only at its end."""
    lines = [block(f"{name} line").strip() for name in ("try", "test")]
    assert all("\n" not in line for line in lines)
    starts = [line.split(".venv && ")[0].replace(" redis-server", "").replace(" git", "") for line in lines]
    assert starts[0] == starts[1]
    assert lines[0].endswith(" && .venv/bin/paneview sample.toml")
    assert lines[1].endswith(" && .venv/bin/pytest")
    assert "<!-- test line -->" in (ROOT / ".ci/run").read_text()


@pytest.fixture
def environ(sandbox: Sandbox) -> dict[str, str]:
    """An environment with the program on the path, and free ports for the sample."""
    ports = {f"SAMPLE_{name}_PORT": str(free_port()) for name in ("WEB", "STORE")}
    return {**os.environ, **ports, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def _run(line: str, folder: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(
        shlex.split(line, comments=True),
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, f"{line}: {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def test_the_first_line_ends_in_a_screen_that_shows_the_sample(
    sandbox: Sandbox, tmux_socket: str, environ: dict[str, str]
) -> None:
    with Screen([str(BIN / "paneview"), "sample.toml"], ROOT, environ) as screen:
        screen.wait_for("leave")
        screen.wait_for("chatter")
        screen.press("q\r")
        screen.wait_for("'paneview -c sample.toml' comes back, 'paneview down -c sample.toml' ends it")
    _run("paneview down -c sample.toml", ROOT, environ)


def test_its_commands_do_what_it_says(sandbox: Sandbox, tmux_socket: str, environ: dict[str, str]) -> None:
    folder = sandbox.root / "shop"
    folder.mkdir()
    (folder / "paneview.toml").write_text(block("example").replace("8000", str(free_port())))
    for line in block("commands").splitlines():
        command = line.split(" #")[0].strip()
        if shown := INTERACTIVE.get(command):
            program, *args = shlex.split(command)
            with Screen([str(BIN / program), *args], folder, environ) as screen:
                screen.wait_for(shown)
        else:
            _run(line, folder, environ)
        if command == "paneview start":
            wait_until(lambda: "worker   ● running" in run("status", cwd=folder).out)
    assert not sandbox.tmux_server_pid()
