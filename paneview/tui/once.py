"""Keys that make a form's request idempotent: if it is sent again for want of a reply, nothing is made twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4


class Once:
    """The key of a form's request. It stays the same for the same request; another request gets another key."""

    def __init__(self) -> None:
        self._wish: tuple[str, Mapping[str, Any]] | None = None
        self._key = ""

    def key(self, do: str, args: Mapping[str, Any]) -> str:
        """The key to send with this request."""
        if (do, args) != self._wish:
            self._wish, self._key = (do, args), uuid4().hex
        return self._key
