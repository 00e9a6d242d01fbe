"""The style sheet, parsed once.

Textual's app has its style sheet parsed three times before the first frame is drawn: when the app gets its first
screen, again as that screen does not know the theme yet, and once more when the theme reports that it was set. Each
time takes some ten milliseconds and has the same outcome (Textual 8.2).
"""

from __future__ import annotations

from textual.css.stylesheet import Stylesheet


class ParsedOnce(Stylesheet):
    """A style sheet that parses again only what is new, or all of it after its variables have changed."""

    def set_variables(self, variables: dict[str, str]) -> None:
        """Set the variables; what was parsed with the same ones stays valid."""
        if variables != self._variables:
            super().set_variables(variables)

    def reparse(self) -> None:
        """Parse what is not parsed yet. Raises StylesheetError and StylesheetParseError; the old rules stay then."""
        self.parse()
