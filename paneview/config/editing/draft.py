"""The text of a new configuration file: readable, with comments, made from the chosen tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from paneview.config.editing.edit import to_key, to_value
from paneview.config.editing.offers import Offer
from paneview.config.paths import default_name

_HEAD = """\
# What this project runs, and how. `paneview check` tells every mistake; `paneview` opens the screen and starts it.
# `paneview schema` describes every key for an editor.

name = {name}
"""
_EXAMPLE = """
# A task is a table like this one:
#
# [tasks.web]
# command = "python3 -m http.server 8000"
# health_url = "http://localhost:8000/"     # ready, and healthy, when this answers
# depends_on = ["db"]                       # started when db is healthy
# restart_policy = "on-failure"             # or "always", or "no"
"""


def draft(file: Path, offers: Sequence[Offer]) -> str:
    """The content of `file` for these tasks; if there are none, an example in comments."""
    parts = [_HEAD.format(name=to_value(default_name(file)))]
    source = None
    for offer in offers:
        if offer.source != source:
            source = offer.source
            parts.append(f"\n# ---- from {_comment(source)} ----\n")
        parts.append(_table(offer))
    return "".join(parts) if offers else parts[0] + _EXAMPLE


def _table(offer: Offer) -> str:
    keys = {"command": offer.command, **offer.settings}
    lines = [f"[tasks.{to_key(offer.name)}]"]
    if offer.detail and offer.detail != offer.command:
        lines.append(f"# {_comment(offer.detail)}")
    lines += [f"{to_key(key)} = {to_value(value)}" for key, value in keys.items()]
    return "\n" + "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    """`text` for a comment: on one line, without control characters, which TOML forbids there."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:100]
