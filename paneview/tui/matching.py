"""The regular expressions that are typed to filter tables."""

from __future__ import annotations

import re

# What `re.compile` raises of an expression: wrong, a count that no machine has or no number is read from, too deep.
WRONG = (re.error, OverflowError, ValueError, RecursionError)


def pattern(text: str) -> re.Pattern[str] | None:
    """What is meant, whatever the case; no regular expression is taken literally, and an empty text is none at all."""
    if not text:
        return None
    try:
        return re.compile(text, re.IGNORECASE)
    except WRONG:
        return re.compile(re.escape(text), re.IGNORECASE)
