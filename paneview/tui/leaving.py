"""Stopping everything and leaving, even if the supervisor dies while it stops the tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paneview.control.errors import ControlError
from paneview.tui import commandline

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp

ENDED = "the supervisor ended before all was stopped"


async def stop_all(app: PaneviewApp) -> None:
    """Stop everything, the supervisor included, and only then leave."""
    with app.doing.under_way("stopping all tasks"):
        try:
            await app.link.call("down", timeout=None)
        except ControlError as error:
            if error.code != "disconnected":
                app.tell(f"stop all: {error.message}", failed=True)
                return
            if not await _finish(app):
                return
    app.exit(0)


async def _finish(app: PaneviewApp) -> bool:
    """Let the command line finish: it takes over what a dead supervisor left. Returns whether all is stopped.

    A missing reply proves nothing: the supervisor may have stopped all and ended, or it may have been killed.
    """
    file = app.picture.file
    if file is None:  # the project is not known
        app.tell(f"stop all: {ENDED}", failed=True)
        return False
    done = await commandline.run("down", ["--file", file])
    if done.status == commandline.NO_SUPERVISOR:
        return True
    if done.status:
        app.tell(f"stop all: {ENDED}: {done.said}; 'paneview down' tries again", failed=True)
        return False
    app.farewell = f"{ENDED}; another one was started, which has stopped the rest"
    return True
