"""Workers: processes that take jobs from a queue and bring results.

    from paneview.worker import Command, Worker, handler

    @handler("resize")
    def resize(command: Command) -> object: ...

A function with the decorator does all jobs of a kind; it is found through the entry point group ``paneview.handlers``
or ``paneview worker --handlers MODULE``. What it returns is the job's output, what it raises its error. A subclass of
`Worker` with a ``handle_command`` of its own decides for every kind itself.

A worker is a few threads (`crew`): each *slot* claims, does and finishes one job after the other; the *keeper* renews
leases and sends heartbeats, so that no handler can starve them; the main thread watches the clock and the signals.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from paneview.worker.command import Command, Failure
    from paneview.worker.handlers import Handlers, handler
    from paneview.worker.setup import Setup
    from paneview.worker.worker import Worker

__all__ = ["Command", "Failure", "Handlers", "Setup", "Worker", "handler"]

_HOMES = {
    "Command": "command",
    "Failure": "command",
    "Handlers": "handlers",
    "Setup": "setup",
    "Worker": "worker",
    "handler": "handlers",
}


def __getattr__(name: str) -> object:
    """What is public here, loaded when somebody asks: commands about a queue need none of what a worker is made of."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
