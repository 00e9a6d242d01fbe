"""Text from outside, made safe to print, and people and commands in sentences. Every package may import this."""

from __future__ import annotations


def escaped(text: str) -> str:
    """The text on one line; characters that could affect the terminal (controls, direction marks) are escaped."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )


def with_option(text: str, option: str) -> str:
    """The text, with `option` (such as `` -c FILE``) in each command of ours that it quotes."""
    for quote in "'`":
        if f"{quote}paneview -c " not in text:
            text = text.replace(f"{quote}paneview ", f"{quote}paneview{option} ")
    return text


def person(actor: str) -> str:
    """An event's actor in a sentence: a client by its name alone (``user:cli`` is ``cli``), others as they are."""
    return actor.removeprefix("user:")
