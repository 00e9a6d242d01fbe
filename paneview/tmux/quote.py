"""Quoting arguments for tmux's command parser, which is similar to a shell's but has its own pitfalls."""

from __future__ import annotations

import re

_SIGNS = re.compile(r"#+(?![#\[])")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@=+,-]+")
# In text that Python got from the system, byte 255 is a lone surrogate.
_ESCAPES = (("'", "'\\''"), ("\n", "'\"\\n\"'"), ("\udcff", "'\"\\377\"'"))


def quote(text: str) -> str:
    """Quote one argument, whatever it contains.

    Single quotes protect everything except themselves, the newline, which would end the command on a control-mode
    client, and byte 255, which tmux mistakes for the end of its input: these are written as escapes. Raises
    ValueError for a NUL, which no argument of a program can contain.
    """
    if "\0" in text:
        raise ValueError("a NUL byte cannot be passed to a program")
    if _PLAIN.fullmatch(text):
        return text
    for character, written in _ESCAPES:
        text = text.replace(character, written)
    return f"'{text}'"


def command(*arguments: str) -> str:
    """One tmux command made of these arguments."""
    return " ".join(quote(argument) for argument in arguments)


def literal_format(text: str) -> str:
    """Escape text for an argument that tmux expands as a format (window names, folders): each ``#`` is doubled.

    Except before ``[``: what looks like a style is left alone until it is drawn, however many ``#`` there are.
    """
    return _SIGNS.sub(lambda match: match[0] * 2, text)


def literal_job(text: str) -> str:
    """Escape text for a shell command that tmux expands as a format and by strftime: ``#`` and ``%`` are doubled."""
    return literal_format(text).replace("%", "%%")
