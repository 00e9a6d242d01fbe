"""Workers: processes that take jobs from a queue and deliver results.

    from paneview.worker import Command, Worker, handler

    @handler("resize")
    def resize(command: Command) -> object: ...

A decorated function does all jobs of a kind; it is found through the entry point group ``paneview.handlers`` or
``paneview worker --handlers MODULE``. What it returns is the job's output, what it raises is the job's error. A
subclass of `Worker` that overrides ``handle_command`` decides for every kind itself.

A worker has a few threads (`crew`): each *slot* claims, does and finishes one job after another; the *keeper* renews
leases and sends heartbeats, so that no handler can starve them; the main thread watches deadlines and signals.
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
    """Load public names on first use: commands that only use the queue don't need the modules of a worker."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
