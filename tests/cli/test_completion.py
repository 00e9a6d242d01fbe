from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import paneview
from paneview.cli.completion import complete
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
        ("--serve st", ["start", "status", "stop"]),
    ],
)
def test_candidates(line: str, expected: list[str]) -> None:
    found = complete(line.split(" "))
    assert sorted(found) == sorted(expected)


def test_a_broken_file_completes_to_nothing(project: Path) -> None:
    (project / "paneview.toml").write_text("[tasks.web")
    assert complete(["stop", ""]) == []


def test_every_kind_of_event_of_a_supervisor_is_offered() -> None:
    rooms = [Path(paneview.__file__).parent / name for name in ("rules", "supervisor")]
    sources = [file.read_text() for room in rooms for file in room.glob("*.py")]
    emitted = {
        kind
        for source in sources
        for kind in re.findall(r'(?:\bEmit|\.note|\.note_session)\(\s*"([a-z_]+)"', source)
        + re.findall(r'\.note_task\([^"()]*"([a-z]+_[a-z_]+)"', source)
    }
    assert len(emitted) > 30
    assert emitted <= set(complete(["events", "--kind", ""]))


def test_hidden_commands_and_options_are_not_offered() -> None:
    assert "__complete" not in complete([""])
    assert "--env-from" not in complete(["--"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_sound(shell: str, project: Path) -> None:
    script = run("completion", shell, cwd=project).out
    assert "paneview __complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes_task_names(project: Path) -> None:
    script = run("completion", "bash", cwd=project).out
    code = f"""{script}
paneview() {{ printf 'web\\nworker\\n'; }}
COMP_WORDS=(paneview stop w); COMP_CWORD=2
_paneview
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["web", "worker"]
