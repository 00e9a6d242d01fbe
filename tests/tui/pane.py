"""The real program in a tmux pane, over a real supervisor and real tasks."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.cli.support import COMMAND
from tests.harness import Sandbox, marked, wait_until, words_of

LOOK = 0.12  # seconds between looks, each of which is a process
FILE = """\
name = "demo"

[tasks.talk]
command = "i=0; while true; do i=$((i+1)); echo said $i; sleep 0.2; done"

[tasks.big]
command = "seq 1 20000; exec sleep 1000"

[tasks.hand]
command = "exec sleep 1000"
auto_start = false
"""
BUSY = FILE.replace("sleep 0.2", "sleep 0.05")
"""The same for tests of many frames: each line is one, and costs what starts, stores and draws it."""


class Pane:
    """A shell in a tmux pane of 80x24 that starts ``paneview``."""

    def __init__(
        self,
        sandbox: Sandbox,
        folder: Path,
        *,
        shell: bool = False,
        command: str = "",
        session: str = "view",
        size: tuple[int, int] = (80, 24),
    ) -> None:
        self.sandbox = sandbox
        self.session = session
        width, height = map(str, size)
        program = shlex.join(COMMAND)
        if not command:
            command = "exec sh" if shell else f"{program}; echo left with $?; exec sleep 1000"
        sandbox.tmux(
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-s",
            session,
            "-x",
            width,
            "-y",
            height,
            "-c",
            str(folder),
            command,
        )
        sandbox.tmux("set-option", "-t", session, "status", "off")
        sandbox.tmux("resize-window", "-t", session, "-x", width, "-y", height)
        if shell:
            self.type(program, "Enter")

    def type(self, *keys: str) -> None:
        self.sandbox.tmux("send-keys", "-t", self.session, *keys)

    def text(self) -> str:
        return self.sandbox.tmux("capture-pane", "-p", "-t", self.session, check=False)

    def wait_for(self, *parts: str) -> str:
        try:
            wait_until(lambda: all(part in self.text() for part in parts), interval=LOOK)
        except AssertionError:
            raise AssertionError(f"not on the screen: {parts}\n{self.text()}") from None
        return self.text()

    def wait_for_any(self, *parts: str) -> str:
        try:
            wait_until(lambda: any(part in self.text() for part in parts), interval=LOOK)
        except AssertionError:
            raise AssertionError(f"none on the screen: {parts}\n{self.text()}") from None
        return self.text()

    def wait_until_gone(self, part: str) -> None:
        """A toast that is told once more later is gone by then."""
        wait_until(lambda: part not in self.text(), interval=3 * LOOK)

    def pid(self) -> int:
        """The screen's process."""
        return wait_until(
            lambda: next((one.pid for one in marked(self.sandbox.marker) if _is_screen(words_of(one))), None)  # type: ignore[return-value]
        )

    def flag(self, name: str) -> str:
        return self.sandbox.tmux("display-message", "-p", "-t", self.session, f"#{{{name}}}")


def _is_screen(words: list[str]) -> bool:
    return words[-2:] == ["-m", "paneview"]


def supervisors(sandbox: Sandbox) -> list[int]:
    return [one.pid for one in marked(sandbox.marker) if "--serve" in words_of(one)]
