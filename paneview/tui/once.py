"""Asking once: who sends a form again, because no answer came, gets what the first time has made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4


class Once:
    """The key of a form's request. It stays as long as the same is asked for; another wish gets another one."""

    def __init__(self) -> None:
        self._wish: tuple[str, Mapping[str, Any]] | None = None
        self._key = ""

    def key(self, do: str, args: Mapping[str, Any]) -> str:
        """The key to send with this request."""
        if (do, args) != self._wish:
            self._wish, self._key = (do, args), uuid4().hex
        return self._key
