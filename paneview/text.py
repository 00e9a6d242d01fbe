"""Text from outside, made safe to print. Below all rooms."""

from __future__ import annotations


def escaped(text: str) -> str:
    """The text on one line; what could steer a terminal (controls, marks of direction) is shown as an escape."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )
