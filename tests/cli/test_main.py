"""What every command has in common: exit status, errors for people and for programs, help."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from paneview import __version__
from paneview.cli import main
from paneview.cli.shapes import SHAPES
from paneview.cli.usage import WIDTH, help_lines
from paneview.cli.verbs import OPEN, PARSER
from paneview.config import paths
from paneview.config.secrets import MASK
from paneview.rules.states import TaskPhase, TaskState
from paneview.store.rows import Change
from paneview.store.state import StateStore
from tests.cli.conftest import FILE
from tests.cli.support import COMMAND, apart, arun, check_shape, environment, run
from tests.cli.test_fast import socket_of
from tests.control.support import serving
from tests.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path

VERBS = PARSER.load_all()
SHOWN = [shown for verb in (OPEN, *VERBS) for shown in (verb, *verb.subs.values()) if not shown.hidden]


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("stop", 3, "no supervisor is running"),
        ("restart web", 3, "no supervisor is running"),
        ("health", 3, "no supervisor is running"),
        ("down", 3, "no supervisor is running"),
        ("inspect web", 3, "no supervisor is running"),
        ("reload", 3, "no supervisor is running"),
        ("logs --fllow", 2, "did you mean --follow"),
        ("logs -n many", 2, "whole number"),
        ("logs -n 99999999999999999999", 2, "at most 12 digits"),
        ("events -n 99999999999999999999", 2, "at most 12 digits"),
        ("scale web 99999999999999999999", 2, "at most 12 digits"),
        ("events --since noon", 2, "does not understand"),
        ("scale web many", 2, "whole number"),
        ("statsu", 2, "did you mean 'paneview status'"),
        ("--file gone.toml status", 2, "gone.toml: no such file"),
        ("--file . events", 0, ""),
        ("completion tcsh", 2, "bash, zsh, fish"),
        ("", 2, "needs a terminal"),
    ],
)
def test_a_failure_has_its_status_and_is_told_where_it_belongs(
    project: Path, line: str, status: int, words: str
) -> None:
    people = run(*line.split(), cwd=project)
    assert people.status == status
    assert words in people.err
    program = run(*line.split(), "--json", cwd=project)
    assert (program.status, program.err) == (status, "")
    answer = program.json
    assert answer["ok"] == (status == 0)
    if status and line:
        assert people.out == ""
        assert words in answer["error"] + answer.get("hint", "")


def test_hints_name_the_file_that_was_given_as_a_word(project: Path) -> None:
    assert "'paneview -c paneview.toml status'" in run("paneview.toml", cwd=project).err
    assert "'paneview status'" in run(cwd=project).err


def test_where_no_state_can_be_kept_a_hint_says_what_to_do(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for home in ("home", "home/of/all"):
        (project / "home").write_text("a file, where a folder is needed")
        monkeypatch.setenv("PANEVIEW_HOME", str(project / home))
        done = run("start", cwd=project)
        assert (done.status, "PANEVIEW_HOME names another folder" in done.err) == (1, True), done.err


@pytest.mark.parametrize("line", ["logs", "check", "init", "start"])
def test_a_folder_that_is_gone_is_what_is_told(
    tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setenv("PWD", str(gone))
    gone.rmdir()
    status = main([line])
    out, err = capfd.readouterr()
    assert (status, out) == (1, "")
    assert f"the current folder no longer exists: {gone}" in err


def test_a_process_can_be_started_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    words = shlex.join([*COMMAND, "status"])
    done = subprocess.run(
        ["/bin/sh", "-c", f"mkdir {gone} && cd {gone} && rmdir {gone} && {words}"],
        env=environment(), capture_output=True, text=True, timeout=45, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the current folder no longer exists: {gone}" in done.stderr


def test_every_mistake_in_the_file_is_told(project: Path) -> None:
    (project / "paneview.toml").write_text('[tasks.web]\ncomand = "x"\nport = "80"\n')
    done = run("start", "--json", cwd=project)
    assert done.status == 2
    assert len(done.json["problems"]) >= 2
    assert done.json["problems"][0]["line"]
    people = run("start", cwd=project)
    assert "paneview.toml:2" in people.err
    assert "command" in people.err
    assert run("status", cwd=project).status == 2


@pytest.mark.parametrize("verb", ["check", "down", "start", "status"])
@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "(" * 1500 + "a" + ")" * 1500])
def test_a_pattern_that_cannot_be_is_a_mistake_in_the_file(project: Path, verb: str, pattern: str) -> None:
    file = project / "paneview.toml"
    file.write_text(f'name = "demo"\n[tasks.t]\ncommand = "true"\nhealth_log = "{pattern}"\n')
    done = run(verb, "--json", cwd=project)
    (problem,) = done.json["problems"]
    assert (done.status, problem["line"], problem["column"]) == (2, 4, 14)
    assert "is not a regular expression" in problem["message"]


def test_no_file_anywhere(tmp_path: Path) -> None:
    done = run("status", cwd=tmp_path)
    assert done.status == 2
    assert "no paneview.toml or taskmux.toml" in done.err
    assert "'paneview init' writes one" in done.err


def test_the_file_may_be_named_by_the_environment(project: Path, tmp_path: Path) -> None:
    by_file = run("status", "--json", cwd=tmp_path, env={"PANEVIEW_FILE": str(project / "paneview.toml")})
    by_folder = run("status", "--json", cwd=tmp_path, env={"PANEVIEW_FILE": str(project)})
    assert by_file.json["session"] == by_folder.json["session"] == "demo"


def test_the_commands_that_a_hint_names_are_for_the_same_file(project: Path, tmp_path: Path) -> None:
    file = tmp_path / "my shop.toml"
    file.write_text('name = "empty"\n')
    stopped = run("stop", "-c", file.name, cwd=tmp_path)
    assert stopped.err.endswith("\n  'paneview -c 'my shop.toml' start' starts one\n")
    assert (
        run("stop", "--json", "-c", str(project), cwd=tmp_path).json["hint"]
        == f"'paneview -c {project} start' starts one"
    )
    assert "'paneview -c 'my shop.toml' add NAME COMMAND'" in run("ls", "-c", file.name, cwd=tmp_path).out


def test_without_a_supervisor_status_tells_what_the_file_says(project: Path) -> None:
    done = run("status", "--json", cwd=project)
    assert (done.status, done.json["running"], done.json["active_tasks"]) == (0, False, 0)
    assert [task["name"] for task in done.json["tasks"]] == ["db", "web", "job"]
    people = run("status", cwd=project)
    assert "no supervisor is running" in people.out
    assert "○ idle" in people.out


async def test_what_the_last_supervisor_left_is_told_as_it_would_tell_it_itself(project: Path) -> None:
    file = project / "paneview.toml"
    file.write_text(FILE.replace('"sleep 1000"', '"sleep 1000"\nenv = { DB_PASSWORD = "hunter22" }', 1))
    why = "quarantined after 5 respawns in 300 s: refused hunter22"
    state = TaskState(phase=TaskPhase.FAILED, run=7, restarts=5, reason=why, quarantined=True)
    store = await StateStore.open(paths.state_db(paths.make_project_dir(file, "demo")))
    await store.put(Change(tasks={"db": state.to_dict()}))
    await store.close()
    found = run("status", "--json", cwd=project).json
    check_shape(SHAPES["status"], found)
    db = found["tasks"][0]
    assert (db["state"], db["run"], db["restarts_total"], db["running"]) == ("failed", 7, 5, False)
    assert db["reason"] == why.replace("hunter22", MASK)


async def test_a_failure_of_the_supervisor_keeps_its_keys(project: Path) -> None:
    async with serving(socket_of(project)):
        program = await arun("start", "ghost", "--json", cwd=project)
        people = await arun("start", "ghost", cwd=project)
    assert program.status == people.status == 1
    assert program.json["ok"] is False
    assert program.json["error"] == "Task 'ghost' not found in config"
    assert program.json["results"] == [{"error_code": "E200"}]
    assert people.err == "paneview: Task 'ghost' not found in config\n"


def test_attach_names_the_replicas_of_a_task_while_nobody_supervises(project: Path) -> None:
    (project / "paneview.toml").write_text('[tasks.web]\ncommand = "true"\nreplicas = 2\n')
    done = run("attach", "web", "--json", cwd=project)
    assert done.status == 1
    assert done.json["hint"] == "it has replicas: web.1, web.2"


async def test_an_answer_that_does_not_come_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(socket_of(project)) as (server, handler):
        asking = asyncio.create_task(arun("restart", "--json", cwd=project))
        await eventually(lambda: handler.started)
        await server.close("killed", grace=0)
        done = await asking
    assert done.status == 1
    assert "the supervisor" in done.json["error"]


def test_a_reader_that_goes_away_is_no_error(project: Path) -> None:
    line = " ".join(COMMAND)
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line} --help | true; {line} schema | head -n 1"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_failure_is_one_whether_anybody_reads_of_it_or_not(project: Path) -> None:
    line = f"set -o pipefail; {' '.join(COMMAND)} stop --json | true"
    done = subprocess.run(["bash", "-c", line], cwd=project, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    # A FIFO that nobody reads any more, as the errors' stream, too.
    line = f"mkfifo gone; exec 3<>gone 2>gone 3>&-; {' '.join(COMMAND)} statsu"
    assert subprocess.run(["bash", "-c", line], cwd=project, check=False).returncode == 2


@pytest.mark.parametrize(
    ("line", "status", "out", "err"),
    [
        ("check >&-", 0, "", ""),
        ("check --json >&-", 0, "", ""),
        ("stop >&-", 3, "", "no supervisor is running"),
        ("submit - <&-", 2, "", "the text is empty"),
        ("ask - <&-", 2, "", "is empty"),
        ("dispatch any ping --payload - <&-", 2, "", "--payload is not JSON"),
        ("statsu 2>&-", 2, "", ""),
        ("check <&- >&- 2>&-", 0, "", ""),
        ("check --json >/dev/full", 1, "", "could not be written: No space left on device"),
        ("schema >/dev/full", 1, "", "No space left on device"),
        ("statsu 2>/dev/full", 1, "", ""),
    ],
)
def test_streams_that_are_closed_or_full(project: Path, line: str, status: int, out: str, err: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(COMMAND)} {line}"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (status, out)
    assert err in done.stderr
    assert "Traceback" not in done.stderr


def test_what_an_encoding_lacks_is_written_as_an_escape(project: Path) -> None:
    done = apart("status", cwd=project, env={"PYTHONIOENCODING": "latin-1"})
    assert (done.status, done.err) == (0, "")
    assert "\\u25cb idle" in done.out


def test_an_argument_that_is_no_text_is_told(project: Path) -> None:
    for words in (["add", "x"], ["job"]):
        done = apart(*words, "a\udcffb", cwd=project)
        assert done.status == 2
        assert "not UTF-8" in done.err


@pytest.mark.parametrize("verb", SHOWN, ids=lambda verb: verb.name)
def test_help_has_usage_options_and_an_example_and_fits(verb: object) -> None:
    lines = help_lines(verb)  # type: ignore[arg-type]
    text = "\n".join(lines)
    assert text.startswith("Usage: paneview")
    assert "--json" in text
    assert "Example:\n  " in text
    assert all(len(line) <= WIDTH + 2 for line in lines)


def test_help_on_sub_commands(project: Path) -> None:
    assert re.search(
        r"^  approve ID \[PHASE\] +Let what waits", run("workflow", "-h", cwd=project).out, re.MULTILINE
    )
    text = run("workflow", "reject", "-h", cwd=project).out
    assert text.startswith("Usage: paneview workflow reject [OPTIONS] ID [PHASE]\n")
    assert "--why" in text
    assert "--budget" not in text
    described = run("dlq", "-h", "--json", cwd=project).json
    assert [sub["command"] for sub in described["commands"]] == [
        "dlq list",
        "dlq show",
        "dlq retry",
        "dlq purge",
    ]


def test_help_and_version_of_the_program(project: Path) -> None:
    done = run("--help", cwd=project)
    for verb in VERBS:
        assert verb.hidden or re.search(rf"^  {verb.name}( |$)", done.out, re.MULTILINE)
    assert run("logs", "-h", cwd=project).out.startswith("Usage: paneview logs")
    assert run("--version", cwd=project).out == f"paneview {__version__}\n"
    assert run("-V", cwd=project).out == f"paneview {__version__}\n"
    assert run("--version", "--json", cwd=project).json == {"ok": True, "version": __version__}
    described = run("--help", "--json", cwd=project).json
    assert {command["command"] for command in described["commands"]} == {
        verb.name for verb in VERBS if not verb.hidden
    }


def test_colour_is_for_terminals_without_no_color(project: Path) -> None:
    assert "\x1b" not in run("status", cwd=project).out
    assert "\x1b[" in on_terminal(project, {"TERM": "xterm"})
    assert "\x1b[" not in on_terminal(project, {"TERM": "xterm", "NO_COLOR": "1"})
    assert "\x1b[" not in on_terminal(project, {"TERM": "dumb"})


def test_a_narrow_terminal_drops_columns_whole(project: Path) -> None:
    wide = on_terminal(project, {"COLUMNS": "80", "NO_COLOR": "1"})
    narrow = on_terminal(project, {"COLUMNS": "30", "NO_COLOR": "1"})
    assert "RESTARTS" in wide
    assert "RESTARTS" not in narrow
    assert "STATE" in narrow
    assert "…" not in narrow.split("\n", 1)[1]


def on_terminal(project: Path, env: dict[str, str]) -> str:
    """Standard output of ``status`` when it is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "status"],
        cwd=project,
        env={**os.environ, **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            shown += data
        os.close(ours)
    assert process.returncode == 0
    return shown.decode()


def test_json_is_one_line_of_json(project: Path) -> None:
    out = run("status", "--json", cwd=project).out
    assert out.count("\n") == 1
    json.loads(out)
