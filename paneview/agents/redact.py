"""Keeping secrets out of what is stored and out of what is passed to other agents.

Two kinds are found: values of environment variables whose names mark them as secret, also in their JSON form, and text
in the format of a known provider's tokens, whatever its origin. A secret printed in pieces over several lines is not
found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from paneview.config.secrets import MASK, SHORTEST_INHERITED, Masker, is_secret

PATTERNS = ("*TOKEN*", "*SECRET*", "*PASSWORD*", "*KEY*")

_SHAPES = re.compile(
    r"""
      (?<![A-Za-z0-9])(?:
        sk-[A-Za-z0-9_-]{20,}                       # Anthropic, OpenAI and their like
      | (?:sk|rk|pk|whsec)_(?:live|test)?_?[A-Za-z0-9]{20,}
      | gh[pousr]_[A-Za-z0-9]{30,} | github_pat_[A-Za-z0-9_]{30,} | glpat-[A-Za-z0-9_-]{20,}
      | xox[abeoprs]-[A-Za-z0-9-]{10,}
      | (?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Z])
      | AIza[A-Za-z0-9_-]{35} | ya29\.[A-Za-z0-9_-]{20,}
      | npm_[A-Za-z0-9]{36} | pypi-[A-Za-z0-9_-]{40,} | hf_[A-Za-z0-9]{30,}
      | eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}
      )
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    | \A[A-Za-z0-9+/=\s]{40,}-----END[ ][A-Z ]*PRIVATE[ ]KEY-----  # cut off from its beginning
    | (?<=://)[^\s/:@"']{0,100}:[^\s/@"']{3,200}(?=@)
    | (?<=[Bb]earer[ ])[A-Za-z0-9._~+/=-]{16,}
    """,
    re.VERBOSE | re.DOTALL,
)


def secrets_of(env: Mapping[str, str], patterns: Iterable[str] = PATTERNS) -> set[str]:
    """The values of an environment's secret variables, except those too short to be meaningful."""
    wanted = tuple(patterns)
    return {
        value for name, value in env.items() if len(value) >= SHORTEST_INHERITED and is_secret(name, wanted)
    }


def _forms(value: str) -> tuple[str, ...]:
    """A value, and as a string in JSON: in ASCII, as Python writes it, and otherwise, as JavaScript does."""
    return value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]


class Redactor(Masker):
    """A masker that also finds values in their JSON form, and text in the format of a token."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        super().__init__((), {form for value in values for form in _forms(value)})

    def text(self, text: str) -> str:
        """The text without secrets."""
        return _SHAPES.sub(MASK, super().text(text))
