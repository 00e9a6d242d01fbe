"""Keys of the real program that reach beyond the screen: into panes, editors, other tmux windows."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

import pytest

from paneview.tui.terminal import MOST_PENDING
from tests.cli.support import COMMAND, run, supervise
from tests.harness import Sandbox, wait_until
from tests.terminal import Screen
from tests.tui.pane import BUSY, Pane

pytestmark = pytest.mark.timeout(120)

ASKING = """\
name = "demo"

[tasks.ask]
command = "echo begun; printf 'Overwrite? [y/N] '; read x; echo got $x; exec sleep 1000"

# the one that is edited
[tasks.still]
command = "exec sleep 1000"  # stays
"""


@pytest.fixture(autouse=True)
def editor(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's editor, once `use_editor` has said what it does; known before tmux is started, which hands it on."""
    monkeypatch.setenv("VISUAL", str(sandbox.root / "editor"))
    return sandbox.root / "editor"


@pytest.fixture
def asking(folder: Path, editor: Path) -> Path:
    (folder / "paneview.toml").write_text(ASKING)
    supervise(folder)
    run("start", cwd=folder)
    return folder


def use_editor(editor: Path, script: str) -> None:
    """Have this shell script be the user's editor; the file is its first argument."""
    editor.write_text(f"#!/bin/sh\n{script}")
    editor.chmod(0o755)


def test_a_question_is_seen_and_answered_and_a_long_line_as_it_is_typed(
    sandbox: Sandbox, asking: Path
) -> None:
    pane = Pane(sandbox, asking)
    pane.wait_for("ask", "◆ needs input", "i answers: Overwrite?")
    pane.type("j", "n", "i")
    pane.wait_for("typing into ask", "begun", "Overwrite? [y/N]", "ctrl+] ends")
    pane.type("y", "e", "s", "Enter")
    pane.wait_for("Overwrite? [y/N] yes", "got yes")
    pane.type("C-]")
    pane.wait_for("TASK", "● running", "got yes")
    wait_until(lambda: "◆ needs input" not in pane.text().split("──")[0])
    pane.type("i")
    pane.wait_for("typing into ask", "got yes")
    pane.type("-l", "n" * 90 + " said at the far end")
    pane.wait_for("nnn said at the far end", "columns 3")


def test_the_definition_is_edited_seen_and_applied_unless_the_editor_fails_or_it_is_wrong(
    sandbox: Sandbox, asking: Path, editor: Path
) -> None:
    use_editor(editor, "")
    pane = Pane(sandbox, asking)
    pane.wait_for("▌ ask", "still")
    pane.type("j", "j")
    for does, told in (
        ("rm $1", "No such file"),
        ("exit 3", "ended with 3"),
        ("", "still: nothing was changed"),
    ):
        use_editor(editor, f"{does}\n")
        pane.type("e")
        pane.wait_for(told, "▌ still")
        assert (asking / "paneview.toml").read_text() == ASKING
    use_editor(editor, "echo 'porrt = 3' >> $1\n")
    pane.type("e")
    pane.wait_for("+porrt = 3")
    pane.type("y")
    pane.wait_for("Not applied", "porrt", "Edit again")

    def given_up() -> bool:
        pane.type("Escape")  # not heeded at first, since the question came up by itself
        return "Not applied" not in pane.text()

    wait_until(given_up)
    pane.wait_for("▌ still")
    assert (asking / "paneview.toml").read_text() == ASKING
    pane.wait_until_gone("nothing was changed")
    use_editor(editor, "sed -i 's/1000/1001/; s/fail/exec/' $1\n")
    pane.type("e")
    pane.wait_for(
        "Change still?", '-command = "exec sleep 1000"  # stays', '+command = "exec sleep 1001"', "▌ n No"
    )
    pane.type("Enter")
    pane.wait_for("nothing was changed")
    assert (asking / "paneview.toml").read_text() == ASKING
    pane.type("e")
    pane.wait_for("Change still?")
    pane.type("y")
    pane.wait_for("still: changed in paneview.toml")
    changed = ASKING.replace('1000"  #', '1001"  #')
    assert (asking / "paneview.toml").read_text() == changed
    wait_until(
        lambda: (
            "exec sleep 1001" in [one["command"] for one in run("status", "--json", cwd=asking).json["tasks"]]
        )
    )


def test_another_editor_opens_while_a_change_is_being_applied(
    sandbox: Sandbox, asking: Path, editor: Path
) -> None:
    """To restart what does not heed a stop takes as long as its grace."""
    file = asking / "paneview.toml"
    stubborn = "trap '' INT TERM; echo deaf; while :; do sleep 0.1; done"
    file.write_text(ASKING + f'\n[tasks.deaf]\ncommand = "{stubborn}"\nstop_grace_period = 60\n')
    run("reload", cwd=asking)
    use_editor(editor, "sed -i 's/echo deaf/echo quite deaf/' $1\n")
    pane = Pane(sandbox, asking)
    pane.wait_for("deaf", "still")
    pane.type("G", "e")
    pane.wait_for("Change deaf?")
    pane.type("y")
    pane.wait_for("stopping")
    use_editor(editor, "echo at work\nread answer\n")
    pane.type("k", "e")
    pane.wait_for("at work")
    pane.type("Enter")
    pane.wait_for("nothing was changed")
    run("kill", "deaf", cwd=asking)


def test_an_editor_does_not_go_with_the_screen_it_is_opened_on_opens_once_and_has_ctrl_c(
    sandbox: Sandbox, asking: Path, editor: Path
) -> None:
    use_editor(editor, "echo at work\nread answer\n")
    pane = Pane(sandbox, asking)
    pane.wait_for("▌ ask", "still")
    pane.type("j", "2")
    wait_until(lambda: "TASK" not in pane.text())
    pane.type("e", "1")
    pane.wait_for("at work")
    pane.type("Enter")
    pane.wait_for("nothing was changed", "▌ still", "TASK")
    assert pane.flag("alternate_on") == "1"
    pane.wait_until_gone("nothing was changed")
    opened = sandbox.root / "opened"
    use_editor(
        editor,
        f"echo at work >>{opened}\n"
        "trap 'sed -i s/1000/1001/ $1; exit 0' INT\necho at work\nwhile :; do sleep 0.05; done\n",
    )
    pane.type("e", "e", "e")
    pane.wait_for("at work")
    pane.type("C-c")
    pane.wait_for("Change still?", '+command = "exec sleep 1001"')
    pane.type("n")
    pane.wait_for("nothing was changed")
    pane.type("C-c")
    pane.wait_for("Ctrl-C does nothing here")
    pane.type("k")
    pane.wait_for("▌ ask")
    pane.type("q", "l")
    pane.wait_for("left with 0")
    assert "Exception" not in pane.text()
    assert opened.read_text() == "at work\n"


LENDER = """\
import asyncio, os, signal, sys
from textual.app import App
from textual.widgets import Static
from paneview.tui import terminal

class Lender(App):
    def compose(self):
        yield Static("nothing yet")

    def on_mount(self):
        terminal.on_leaving_signals(self.exit)
        self.run_worker(self.lend())

    async def lend(self):
        await terminal.run(self, ["true"])
        os.kill(os.getpid(), signal.SIGINT)  # sent while the other program was there, and heard of only now
        await asyncio.sleep(3 * terminal.STILL_THEIRS)
        self.query_one(Static).update("the screen is still here")

print(os.getpid(), file=open("pid", "w"), flush=True)
sys.exit(Lender(driver_class=terminal.Terminal).run())
"""


def test_ctrl_c_at_the_editors_very_end_is_for_the_editor_too(sandbox: Sandbox, tmux_socket: str) -> None:
    (sandbox.root / "lender.py").write_text(LENDER)
    command = f"{sys.executable} lender.py; echo left with $?; exec sleep 1000"
    pane = Pane(sandbox, sandbox.root, command=command)
    pane.wait_for("the screen is still here")
    os.kill(int((sandbox.root / "pid").read_text()), signal.SIGINT)
    pane.wait_for("left with 130")


HUNG = """\
import os, sys, time
from textual.app import App
from textual.widgets import Static
from paneview.tui import terminal

terminal.PATIENCE = 0.1

class Hung(App):
    def compose(self):
        yield Static("it hangs now")

    def on_mount(self):
        terminal.on_leaving_signals(self.exit)
        self.set_timer(0.3, self.hang)

    def hang(self):
        print(os.getpid(), file=open("pid", "w"), flush=True)
        while True:
            %s

sys.exit(Hung(driver_class=terminal.Terminal).run())
"""


@pytest.mark.parametrize("at", ["pass", "time.sleep(1000)"])
def test_a_screen_that_hangs_ends_when_it_is_asked_to(sandbox: Sandbox, tmux_socket: str, at: str) -> None:
    (sandbox.root / "hung.py").write_text(HUNG % at)
    pane = Pane(
        sandbox, sandbox.root, command=f"{sys.executable} hung.py; echo left with $?; exec sleep 1000"
    )
    wait_until(lambda: (sandbox.root / "pid").exists() and (sandbox.root / "pid").read_text().endswith("\n"))
    assert pane.flag("alternate_on") == "1"
    os.kill(int((sandbox.root / "pid").read_text()), signal.SIGTERM)
    pane.wait_for("left with 143")
    assert (pane.flag("alternate_on"), pane.flag("cursor_flag"), pane.flag("mouse_any_flag")) == (
        "0",
        "1",
        "0",
    )


def test_what_happens_while_the_editor_is_open_does_not_spoil_the_screen(
    sandbox: Sandbox, folder: Path, editor: Path
) -> None:
    """More frames than may wait for a terminal would have been drawn meanwhile."""
    use_editor(editor, "echo at work\nread answer\n")
    (folder / "paneview.toml").write_text(BUSY)
    supervise(folder)
    run("start", cwd=folder)
    pane = Pane(sandbox, folder)
    pane.wait_for("▌ talk", "following")
    assert pane.flag("alternate_on") == "1"
    pane.type("e")
    pane.wait_for("at work")
    assert pane.flag("alternate_on") == "0"

    def said() -> int:
        return int(run("logs", "talk", "-n", "1", cwd=folder).out.split()[-1])

    enough = said() + MOST_PENDING + 5
    wait_until(lambda: said() > enough)
    pane.type("Enter")
    pane.wait_for("nothing was changed", "▌ talk")
    assert pane.flag("alternate_on") == "1"
    assert pane.flag("mouse_any_flag") == "1"


def test_outside_tmux_lines_are_copied_by_the_terminal_and_a_visit_ends_by_our_key_or_tmux_own(
    sandbox: Sandbox, folder: Path
) -> None:
    supervise(folder)
    run("start", cwd=folder)
    pane = Pane(sandbox, folder, command=f"env -u TMUX {shlex.join(COMMAND)}")
    pane.wait_for("▌ talk", "● running")
    for back in (["C-]"], ["C-b", "d"]):
        pane.type("t")
        wait_until(lambda: "said " in (shown := pane.text()) and "TASK" not in shown)
        pane.type(*back)
        pane.wait_for("▌ talk", "TASK", "following")
        assert not sandbox.tmux("show-options", "-t", "demo", "key-table", check=False).strip()
    copy_and_look(sandbox, pane, "by the terminal (OSC 52)")


def test_inside_tmux_lines_are_copied_to_it_and_the_client_switches_over_and_back(
    sandbox: Sandbox, folder: Path
) -> None:
    supervise(folder)
    run("start", cwd=folder)
    pane = Pane(sandbox, folder)
    pane.wait_for("▌ talk", "● running")
    environ = {name: value for name, value in os.environ.items() if name not in ("TMUX", "TMUX_PANE")}
    tmux = shutil.which("tmux") or "tmux"
    argv = [tmux, "-S", sandbox.tmux_socket, "attach-session", "-t", "view"]
    with Screen(argv, folder, environ) as screen:
        screen.wait_for("talk")

        def session() -> str:
            return sandbox.tmux("list-clients", "-F", "#{client_control_mode} #{session_name}")

        wait_until(lambda: "0 view" in session())
        screen.press("t")
        wait_until(lambda: "0 demo" in session())
        screen.press("\x1d")
        wait_until(lambda: "0 view" in session())
    copy_and_look(sandbox, pane, "to tmux and the clipboard")


def copy_and_look(sandbox: Sandbox, pane: Pane, told: str) -> None:
    """Copy three lines that `big` has written: where to is told, and tmux has them."""
    sandbox.tmux("set-option", "-s", "set-clipboard", "on")
    pane.type("j")
    pane.wait_for("▌ big", "\n20000")
    pane.type("Tab", "v", "k", "k", "y")
    pane.wait_for("3 lines copied", told)
    wait_until(lambda: sandbox.tmux("show-buffer", check=False) == "19998\n19999\n20000")
