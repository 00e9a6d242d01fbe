"""Text from outside, made safe to print, and people in sentences. Every package may import this."""

from __future__ import annotations


def escaped(text: str) -> str:
    """The text on one line; characters that could affect the terminal (controls, direction marks) are escaped."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )


def person(actor: str) -> str:
    """An event's actor in a sentence: a client by its name alone (``user:cli`` is ``cli``), others as they are."""
    return actor.removeprefix("user:")
