"""Arguments for tmux's own parser, which reads a line much like a shell does, with traps of its own."""

from __future__ import annotations

import re

_SIGNS = re.compile(r"#+(?![#\[])")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@=+,-]+")
# Byte 255 is a lone surrogate in text that Python has got from the system.
_ESCAPES = (("'", "'\\''"), ("\n", "'\"\\n\"'"), ("\udcff", "'\"\\377\"'"))


def quote(text: str) -> str:
    """One argument, whatever is in it.

    Single quotes keep everything as it is but for themselves, the newline, which would end the command on a
    control-mode client, and byte 255, which tmux takes for the end of its input: these are written as escapes. Raises
    ValueError for a NUL, which no argument of a program can hold.
    """
    if "\0" in text:
        raise ValueError("a NUL byte cannot be passed to a program")
    if _PLAIN.fullmatch(text):
        return text
    for character, written in _ESCAPES:
        text = text.replace(character, written)
    return f"'{text}'"


def command(*arguments: str) -> str:
    """One tmux command of these arguments."""
    return " ".join(quote(argument) for argument in arguments)


def literal_format(text: str) -> str:
    """Text for an argument that tmux expands as a format (window names, folders): each ``#`` doubled.

    But not before ``[``: what looks like a style is left for the drawing, however many ``#`` there are.
    """
    return _SIGNS.sub(lambda match: match[0] * 2, text)


def literal_job(text: str) -> str:
    """Text for a shell command that tmux expands as a format with time: ``#`` and ``%`` doubled."""
    return literal_format(text).replace("%", "%%")
