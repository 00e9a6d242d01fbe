from __future__ import annotations

from pathlib import Path

import pytest

from paneview.config.interpolate import InterpolationError, interpolate, undefined_in_command
from tests.config.support import lines, load

VALUES = {"A": "1", "EMPTY": "", "B": "${A}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("${A}", "1"),
        ("<${A}${A}>", "<11>"),
        ("${EMPTY}", ""),
        ("${B}", "${A}"),  # values are not expanded again
        ("${NO:-x}", "x"),
        ("${NO:-}", ""),
        ("${EMPTY:-x}", "x"),
        ("${A:-${NO}}", "1"),
        ("${NO:-<${A}>}", "<1>"),
        ("${NO:-${NO:-${A}}}", "1"),
        ("$A $$ $ {A} }", "$A $$ $ {A} }"),
        ("$${A}", "${A}"),
        ("${NO:-$${A}}", "${A}"),
    ],
)
def test_interpolate(text: str, result: str) -> None:
    assert interpolate(text, VALUES) == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("${NO:-" * 3000 + "}" * 3000, "nested too deeply", id="deep"),
        ("${NO}", r"\$\{NO\} is not set"),
        ("${NO:-${NEITHER}}", r"\$\{NEITHER\} is not set"),
        ("${A", r"'\$\{A' has no closing"),
        ("${A:-x", "has no closing"),
        ("${A%.*}", r"'\$\{A%\.\*\}' is not understood"),
        ("${}", "is not understood"),
        ("${1}", "is not understood"),
    ],
)
def test_what_can_not_be_replaced(text: str, message: str) -> None:
    with pytest.raises(InterpolationError, match=message):
        interpolate(text, VALUES)


@pytest.mark.parametrize(
    ("command", "undefined"),
    [
        ("echo ${NO}", ["NO"]),
        ('echo "${NO} ${NO} ${NOR}"', ["NO", "NOR"]),
        ("echo ${A} $NO ${NO:-x} ${NO%.*} ${#NO} $$ ${1} ${@}", []),
        ("for f in *; do echo ${f}; done", []),
        ("NO=1; echo ${NO}", []),
        ("read NO; echo ${NO}", []),
        ("echo '${NO}'", []),
        ("python3 -c 'print(f\"${x}\")'", []),
        ('echo "it\'s ${NO}"', ["NO"]),
        ("echo \"$(echo '${NO}') ${NOR}\"", ["NOR"]),
        ("echo \\${NO}", []),
        ("echo ${PWD} ${PANEVIEW_REPLICA} ${RANDOM}", []),
        (". ./settings.sh; echo ${NO}", []),
        ("cat <<EOF\n${NO}\nEOF", []),
        ("echo ${NO", []),
        ("echo $NO; echo ${NO}", ["NO"]),
    ],
)
def test_undefined_in_command(command: str, undefined: list[str]) -> None:
    assert undefined_in_command(command, VALUES) == undefined


def test_nearest_value_wins(tmp_path: Path) -> None:
    (tmp_path / "all.env").write_text("A=project file\nB=project file\nC=project file\nD=project file\n")
    (tmp_path / "web.env").write_text("A=task file\nB=task file\nREF=${A} ${HOME}\n")
    project = load(
        tmp_path,
        """
        env_file = "all.env"
        env = { A = "project", B = "project", C = "project" }
        [tasks.web]
        command = "echo ${A}"
        env_file = "${NAME}.env"
        env = { A = "task (${A})", PATH = "${PATH}:/x", AGAIN = "${A}" }
        description = "${A}, ${B}, ${C}, ${D}, ${HOME}"
        [tasks.other]
        command = "x"
        """,
        {"A": "environment", "HOME": "/home", "NAME": "web", "PATH": "/bin"},
    )
    web = project.tasks["web"]
    assert web.description == "task (task file), task file, project, project file, /home"
    assert web.env == {
        "A": "task (task file)",
        "B": "task file",
        "C": "project",
        "D": "project file",
        "REF": "task file /home",
        "PATH": "/bin:/x",
        "AGAIN": "task (task file)",
    }
    assert web.command == "echo ${A}"  # left to the shell, which has the environment above
    assert project.tasks["other"].env == project.env


def test_global_hooks_run_in_the_environment_of_tasks(tmp_path: Path) -> None:
    load(tmp_path, 'hooks.before_start = "echo ${A}"\n[tasks.web]\ncommand = "x"\nenv.A = "1"\n')


def test_unset_variables_are_told_in_every_kind_of_text(tmp_path: Path) -> None:
    text = """\
        hooks.before_start = "echo ${NO}"
        [tasks.web]
        command = "echo ${NO}"
        cwd = "${NO}"
        env = { A = "${NO}" }
        health_check = "test ${NO}"
        hooks.after_stop = "echo ${NO}"
        [tmux]
        socket = "${NO}"
        """
    said = lines(tmp_path, text)
    assert [line.split(":")[0] for line in said] == ["1", "3", "4", "5", "6", "7", "9"]
    assert all("${NO} is not set in the environment or an env_file" in line for line in said)
