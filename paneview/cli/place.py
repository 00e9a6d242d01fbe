"""The project that a command is for, and the connection to its supervisor. Plain strings and no heavy import.

See `config.locate`.
"""

from __future__ import annotations

import os

from paneview.cli.errors import USAGE, CliError
from paneview.config import locate
from paneview.control import blocking
from paneview.control.errors import Disconnected, NoSupervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from paneview.cli.parser import Call

# Seconds for what a supervisor answers from memory. Starts and stops have no limit.
QUICK = 15.0
# The hint where there is no project, for commands that need one.
FOR_WORKFLOWS = "workflows are a project's, whose supervisor carries them on: 'paneview init' makes one here"


class Place:
    """A project: its configuration file, and its state folder if a supervisor ever ran."""

    __slots__ = ("file", "folder")

    def __init__(self, file: str) -> None:
        self.file = file
        self.folder = locate.find_project_dir(file)

    def connect(self, timeout: float | None = None) -> blocking.Connection:
        """A connection to the supervisor. Raises NoSupervisor."""
        if self.folder is None:
            self.folder = locate.find_project_dir(self.file)
        if self.folder is not None:
            try:
                return blocking.Connection(locate.control_socket(self.folder), timeout=timeout)
            except NoSupervisor:
                pass
        raise NoSupervisor(f"no supervisor is running for {self.file}")

    def hello(self) -> dict[str, Any]:
        """What the supervisor says of itself. Raises NoSupervisor, also if it ended as it was asked; ControlError."""
        try:
            return self.ask("hello")
        except Disconnected:
            raise NoSupervisor(f"the supervisor of {self.file} has just ended") from None

    def ask(
        self, do: str, args: dict[str, Any] | None = None, timeout: float | None = QUICK
    ) -> dict[str, Any]:
        """Ask the supervisor once. Raises NoSupervisor or ControlError."""
        with self.connect(timeout) as connection:
            return connection.call(do, args)

    def ask_text(self, do: str) -> bytes:
        """Like `ask`, without arguments; the result is JSON text."""
        with self.connect(QUICK) as connection:
            return connection.call_text(do)


def find(call: Call, named: str | None = None, hint: str | None = None) -> Place:
    """The project of ``--file``, else of `named`, else of $PANEVIEW_FILE, else found from this folder upward.

    Raises CliError when there is no such file; `hint` says what to do if none is named and none is found.
    """
    if named and not call.text("file"):
        call.given["file"] = [named]  # so that hints name it, too
    given = call.text("file") or os.environ.get("PANEVIEW_FILE")
    if not given:
        if found := locate.find_file(os.getcwd()):
            return Place(found)
        message = f"no paneview.toml or taskmux.toml in {os.getcwd()} or a folder above it"
        hint = hint or "'paneview init' writes one here, --file names one elsewhere"
        raise CliError(message, USAGE, hint, code="config")
    path = os.path.abspath(given)
    if os.path.isdir(path):
        for name in locate.FILE_NAMES:
            if os.path.isfile(os.path.join(path, name)):
                return Place(os.path.join(path, name))
        raise CliError(f"no paneview.toml or taskmux.toml in {path}", USAGE, code="config")
    place = Place(path)
    # A file that was removed while its supervisor runs still names that supervisor.
    if not os.path.exists(path) and place.folder is None:
        raise CliError(f"{given}: no such file", USAGE, code="config")
    return place
