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

from paneview.worker.command import Command, Failure
from paneview.worker.handlers import Handlers, handler
from paneview.worker.setup import Setup
from paneview.worker.worker import Worker

__all__ = ["Command", "Failure", "Handlers", "Setup", "Worker", "handler"]
