"""paneview: everything a project runs, on one screen, each process in its own tmux pane."""

# A constant, because reading the installed package's metadata takes longer than most commands.
__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from paneview.worker.api import AsyncQueue as AsyncQueue
    from paneview.worker.api import Queue as Queue

__all__ = ["AsyncQueue", "Queue", "__version__"]


def __getattr__(name: str) -> object:
    """Load `Queue` and `AsyncQueue` at first use, to keep commands that need no queue fast."""
    if name in ("Queue", "AsyncQueue"):
        from paneview.worker import api  # noqa: PLC0415

        return getattr(api, name)
    raise AttributeError(f"module 'paneview' has no attribute {name!r}")
