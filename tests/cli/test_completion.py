from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from paneview.cli.completion import complete
from paneview.control.kinds import KINDS
from tests.cli.support import run


@pytest.fixture(autouse=True)
def inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sta", ["start", "status"]),
        ("stop ", ["db", "web", "job"]),
        ("stop w", ["web"]),
        ("stop web ", ["db", "job"]),
        ("inspect web ", []),
        ("--json restart d", ["db"]),
        ("logs --s", ["--since"]),
        ("logs -n 5 w", ["web"]),
        ("logs -n ", []),
        ("events --task ", ["db", "web", "job"]),
        ("events --kind task_st", ["task_started", "task_stopping", "task_stopped"]),
        ("export --format ", ["jsonl", "text"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("schema --output ins", ["inspect"]),
        ("check ", ["FILES"]),
        ("other.to", ["FILES"]),
        ("--file ", ["FILES"]),
        ("--file = paneview.toml stop w", ["web"]),  # as bash splits --file=paneview.toml
        ("--file =", ["FILES"]),
        ("export --format = js", ["jsonl"]),
        ("logs --grep = = w", ["web"]),
        ("--serve st", ["start", "status", "stop"]),
        ("dlq re", ["retry"]),
        ("dlq retry --a", ["--all"]),
        ("workflow approve ", []),
        ("runner resume ", []),
    ],
)
def test_candidates(line: str, expected: list[str]) -> None:
    found = complete(line.split(" "))
    assert sorted(found) == sorted(expected)


def test_a_broken_file_completes_to_nothing(project: Path) -> None:
    (project / "paneview.toml").write_text("[tasks.web")
    assert complete(["stop", ""]) == []


def test_of_a_file_only_what_may_name_a_task_is_offered(project: Path) -> None:
    names = ["web", "$(touch pwned)", "a b", "-x", "12", "up\x1b[2J", "two\nlines"]
    (project / "paneview.toml").write_text("".join(f"[tasks.{json.dumps(name)}]\n" for name in names))
    assert complete(["start", ""]) == ["web"]


def test_every_kind_of_event_is_offered() -> None:
    assert complete(["events", "--kind", ""]) == list(KINDS)


def test_hidden_commands_and_options_are_not_offered() -> None:
    assert "__complete" not in complete([""])
    assert "--env-from" not in complete(["--"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_sound(shell: str, project: Path) -> None:
    script = run("completion", shell, cwd=project).out
    assert "paneview __complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def in_bash(script: str, offered: str, *words: str, cwd: Path) -> list[str]:
    """The candidates that bash gets if ``paneview __complete`` prints ``offered`` for the last of ``words``."""
    code = f"""{script}
paneview() {{ printf '%s' {shlex.quote(offered)}; }}
COMP_WORDS=(paneview {shlex.join(words)}); COMP_CWORD={len(words)}
_paneview
printf '%s\\0' "${{COMPREPLY[@]}}"
"""
    argv = ["bash", "--norc", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=cwd)
    return done.stdout.split("\0")[:-1]


def test_bash_completes_task_names(project: Path) -> None:
    script = run("completion", "bash", cwd=project).out
    assert in_bash(script, "web\nworker\n", "stop", "w", cwd=project) == ["web", "worker"]


def test_bash_completes_files(project: Path) -> None:
    script = run("completion", "bash", cwd=project).out
    assert in_bash(script, "FILES\n", "check", "panev", cwd=project) == ["paneview.toml"]
    assert "paneview.toml" in in_bash(script, "FILES\n", "--file", "=", cwd=project)


def test_bash_runs_nothing_that_it_is_offered(project: Path) -> None:
    script = run("completion", "bash", cwd=project).out
    offered = ["$(touch pwned)", "`touch pwned`", "*", "a b", r"back\slash", "${HOME}"]
    assert in_bash(script, "\n".join(offered) + "\n", "start", "", cwd=project) == offered
    assert not (project / "pwned").exists()


def test_bash_offers_nothing_where_there_is_nothing(project: Path) -> None:
    script = run("completion", "bash", cwd=project).out
    assert in_bash(script, "", "start", "x", cwd=project) == [""]  # printf's output for no words
