"""Work that goes on while the screen is drawn."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ParamSpec

from textual.dom import DOMNode

P = ParamSpec("P")
_LENDING = "lending"


def in_background(
    node: DOMNode, function: Callable[P, Coroutine[Any, Any, None]], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Run a coroutine function for as long as the node is there.

    A coroutine made too late, when the node is going already, would never be awaited: a function is not called then.
    """
    node.run_worker(partial(function, *args, **kwargs))  # type: ignore[arg-type]


def lending_the_terminal(
    node: DOMNode, function: Callable[P, Coroutine[Any, Any, None]], *args: P.args, **kwargs: P.kwargs
) -> bool:
    """The same for what gives the terminal away, unless that is under way: a key pressed twice opens one editor.

    Whether it was begun.
    """
    if not all(worker.is_finished for worker in node.app.workers if worker.group == _LENDING):
        return False
    node.run_worker(partial(function, *args, **kwargs), group=_LENDING)  # type: ignore[arg-type]
    return True
