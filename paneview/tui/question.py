"""A question for the prompt line; separate from the prompt, which is only loaded for the first question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Question(NamedTuple):
    """What is asked: a sign before the line, and what happens while typing, at Enter and at Esc."""

    sign: str
    hint: str
    submit: Callable[[str], None]
    preview: Callable[[str], None] | None = None
    cancel: Callable[[], None] | None = None
    value: str = ""
    suggestions: Sequence[str] = ()
