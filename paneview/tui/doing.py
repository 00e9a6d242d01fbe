"""Requests that take longer than a moment: the header shows them until they are done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MOMENT = 1.0  # s after which it is shown


class Doing:
    """Several things may be under way; the oldest is shown. ``told`` is called when the text has changed."""

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        self._texts: dict[object, str] = {}

    @property
    def text(self) -> str:
        """What to show; empty if nothing is under way."""
        texts = list(self._texts.values())
        return "" if not texts else texts[0] + (f" and {len(texts) - 1} more" if len(texts) > 1 else "")

    @contextmanager
    def under_way(self, what: str) -> Iterator[Callable[[str], None]]:
        """Show ``what`` after a `MOMENT`, until the block is left; the function yielded adds its progress."""
        key = object()
        far = ""

        def show() -> None:
            self._texts[key] = f"{what}… {far}".rstrip()
            self._told()

        def say(text: str) -> None:
            nonlocal far
            if text != far:
                far = text
                if key in self._texts:
                    show()

        due = asyncio.get_running_loop().call_later(MOMENT, show)
        try:
            yield say
        finally:
            due.cancel()
            if self._texts.pop(key, None) is not None:
                self._told()
