"""A text from the command line, or from standard input."""

from __future__ import annotations

import sys

from paneview.cli.errors import UsageError


def text_of(words: list[str]) -> str:
    """The words, joined by spaces, or for a lone ``-`` all of standard input, unchanged. Raises UsageError."""
    if words != ["-"]:
        return " ".join(words)
    try:
        return sys.stdin.buffer.read().decode()  # text mode would change the ends of lines
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input is not UTF-8 text: byte {error.start + 1} is wrong") from None
