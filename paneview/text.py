"""Text from outside, made safe to print, and people and commands in sentences. Every package may import this."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import AnyStr


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


def last_of(text: AnyStr, most: int) -> AnyStr:
    """The end of a text, at most so many characters or bytes, without the rest of what was cut.

    Half a secret would not be recognised as one. So it begins with a line; if none begins soon, more is cut off.
    """
    if len(text) <= most:
        return text
    cut = len(text) - most
    end = text.find("\n" if isinstance(text, str) else b"\n", cut - 1, cut + most // 2)
    return text[end + 1 :] if end >= 0 else text[cut + most // 2 :]
