"""The words in a prompt template that are filled in: ``{{task}}``, ``{{diff}}``, ``{{results}}``, ``{{work.text}}``.

Only the finding of them is here, so that a file with a wrong one is refused when it is read; what takes their place,
fenced as data, is up to `paneview.workflow.prompts`. Braces around anything else stay as they are.
"""

from __future__ import annotations

import re

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_.-]+)\s*\}\}")
WORDS = ("task", "diff", "results")
"""What is no result of one phase: what was asked, all changes so far, the results of all phases before."""
FIELDS = ("text", "data", "status", "lines", "files", "attempts", "verify")
"""Of a phase, in a prompt."""
ASKED = (*FIELDS, "done", "skipped", "failed", "retries", "tokens", "cost_usd", "turns", "seconds")
"""Of a phase, in a condition: one that asks for something else would never hold, and nobody would know."""


def placeholders(template: str) -> list[str]:
    """The words to be filled in, each once."""
    return list(dict.fromkeys(PLACEHOLDER.findall(template)))


def unknown(word: str, phases: set[str]) -> str:
    """What is wrong with such a word; empty: nothing. ``phases``: the names of those before."""
    if word in WORDS:
        return ""
    name, _, rest = word.partition(".")
    if name not in phases:
        known = ", ".join([*WORDS, *(f"{phase}.text" for phase in sorted(phases))])
        return f"{{{{{word}}}}} is neither of a phase before it nor one of {known}"
    if rest.partition(".")[0] not in FIELDS or ("." in rest and not rest.startswith("data.")):
        return f"{{{{{word}}}}}: a phase has {', '.join(FIELDS)}"
    return ""
