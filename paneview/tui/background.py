"""Work that runs while the screen is drawn."""

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
    """Run a coroutine function, for as long as the node exists.

    It takes a function because a coroutine object made while the node is being removed would never be awaited;
    the function is simply not called then.
    """
    node.run_worker(partial(function, *args, **kwargs))  # type: ignore[arg-type]


def is_lent(node: DOMNode) -> bool:
    """Whether a function that lends the terminal is under way."""
    return not all(worker.is_finished for worker in node.app.workers if worker.group == _LENDING)


def lending_the_terminal(
    node: DOMNode, function: Callable[P, Coroutine[Any, Any, None]], *args: P.args, **kwargs: P.kwargs
) -> bool:
    """Like `in_background`, for a function that lends the terminal; one at a time.

    Returns False if one is under way, so that a key pressed twice opens one editor.
    """
    if is_lent(node):
        return False
    node.run_worker(partial(function, *args, **kwargs), group=_LENDING)  # type: ignore[arg-type]
    return True
