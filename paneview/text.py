"""Text from outside, made safe to print. Every package may import this."""

from __future__ import annotations


def escaped(text: str) -> str:
    """The text on one line; characters that could affect the terminal (controls, direction marks) are escaped."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )
