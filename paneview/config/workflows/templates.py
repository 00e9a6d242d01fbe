"""The placeholders in a prompt template: ``{{task}}``, ``{{diff}}``, ``{{results}}``, ``{{work.text}}``.

This module only finds them, so that a file with a wrong one is refused when it is read; `paneview.workflow.prompts`
puts the values in their place, fenced as data. Braces around anything else stay as they are.
"""

from __future__ import annotations

import re

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_.-]+)\s*\}\}")
WORDS = ("task", "diff", "results")
"""Those that are not of a single phase: what was asked, all changes so far, the results of all phases before."""
FIELDS = ("text", "data", "status", "lines", "files", "attempts", "verify")
"""What a prompt may use of a phase."""
ASKED = (*FIELDS, "done", "skipped", "failed", "retries", "tokens", "cost_usd", "turns", "seconds")
"""What a condition may use of a phase: one that asks for anything else would never hold, without anyone knowing."""


def placeholders(template: str) -> list[str]:
    """The words of the placeholders, each once."""
    return list(dict.fromkeys(PLACEHOLDER.findall(template)))


def unknown(word: str, phases: set[str]) -> str:
    """What is wrong with a placeholder's word; empty: nothing. ``phases``: the names of those before."""
    if word in WORDS:
        return ""
    name, _, rest = word.partition(".")
    if name not in phases:
        known = ", ".join([*WORDS, *(f"{phase}.text" for phase in sorted(phases))])
        return f"{{{{{word}}}}} is neither of a phase before it nor one of {known}"
    if rest.partition(".")[0] not in FIELDS or ("." in rest and not rest.startswith("data.")):
        return f"{{{{{word}}}}}: a phase has {', '.join(FIELDS)}"
    return ""
