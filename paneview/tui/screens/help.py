"""All keys, made from the bindings themselves: what is shown is what is bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingsMap, BindingType
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.strip import Strip

from paneview.tui import words
from paneview.tui.keys.bindings import key, key_text
from paneview.tui.text import cells, cut, fit
from paneview.tui.widgets.canvas import PLAIN, Piece, line
from paneview.tui.widgets.scrolling import Scrolling

KEY_WIDTH = 10
LEAST_COLUMN = 36
# The groups of the help, by the first part of a binding's id.
GROUPS = (
    ("task", "Tasks"),
    ("table", "Table"),
    ("list", "Lists"),
    ("graph", "Graph"),
    ("log", "Log"),
    ("queue", "Queue"),
    ("job", "Jobs"),
    ("worker", "Workers"),
    ("flow", "Workflows"),
    ("logs", "Log screen"),
    ("", "Everywhere"),
)
# Keys that a pane may pass on to the screen: a log has no use for those of a search while there is none.
HANDED_ON = ("log.older", "log.newer")

Section = tuple[str, list[tuple[str, str]]]


def sections(panes: Sequence[DOMNode], around: Sequence[DOMNode]) -> list[Section]:
    """The keys and what they do, group by group, in the order in which they are bound, those of the panes first.

    Actions that are not available now are left out, and so are keys of ``around`` that every pane has for itself.
    """
    kept = [{name for name, binding in _bindings(pane) if binding.id not in HANDED_ON} for pane in panes]
    out_of_reach = set.intersection(*kept) if kept else set()
    found: dict[str, dict[str, list[str]]] = {}
    for node in (*panes, *around):
        for name, binding in _bindings(node):
            if not binding.id or (node in around and name in out_of_reach):
                continue
            if node.app._check_action_state(binding.action, node) is False:
                continue
            prefix = binding.id.partition(".")[0] if "." in binding.id else ""
            group = prefix if any(prefix == name for name, _ in GROUPS) else ""
            keys = found.setdefault(group, {}).setdefault(binding.tooltip, [])
            if key_text(name) not in keys:
                keys.append(key_text(name))
    return [
        (title, [(" ".join(keys), text) for text, keys in found[name].items()])
        for name, title in GROUPS
        if name in found
    ]


def _bindings(node: DOMNode) -> BindingsMap:
    bindings = node._bindings.copy()
    bindings.apply_keymap(node.app._keymap)
    return bindings


class HelpText(Scrolling):
    """The sections, in as many columns as fit."""

    AROUND = 3

    def __init__(self, shown: list[Section]) -> None:
        super().__init__(id="help")
        self._sections = shown

    def paint(self, width: int, height: int) -> list[Strip]:
        """The title, then the sections."""
        inks = self.inks
        base = inks.bar
        rows = self._rows(width)
        shown = self.place(len(rows), height)
        more = "  j k scroll" if len(shown) < len(rows) else ""
        title = line(width, base, ("  Keys", inks.title), (f"   esc closes{more}", inks.dim))
        strips = [Strip.blank(width, base), title, Strip.blank(width, base)]
        strips += [line(width, base, *pieces) for pieces in rows[shown.start : shown.stop]]
        return strips + [Strip.blank(width, base)] * (height - len(strips))

    def on_resize(self) -> None:
        """Be no taller than the text."""
        self.styles.height = min(len(self._rows(self.size.width)) + 4, self.screen.size.height)

    def on_click(self) -> None:
        """A click closes it, like any key that leaves."""
        self.screen.dismiss()

    def _rows(self, width: int) -> list[list[Piece]]:
        columns = max(1, (width - 2) // LEAST_COLUMN)
        column = (width - 2) // columns
        blocks = [self._block(title, keys, column) for title, keys in self._sections]
        blocks.append(self._states())
        stacks: list[list[list[Piece]]] = [[] for _ in range(columns)]
        # Each block goes on the shortest stack.
        for block in blocks:
            stack = min(stacks, key=len)
            stack += [*block, []]
        tallest = max(len(stack) for stack in stacks)
        rows: list[list[Piece]] = []
        for at in range(tallest):
            row: list[Piece] = []
            for stack in stacks:
                row += _padded(stack[at] if at < len(stack) else [], column)
            rows.append(row)
        while rows and not any(text.strip() for text, _ in rows[-1]):
            rows.pop()
        return rows

    def _block(self, title: str, keys: list[tuple[str, str]], column: int) -> list[list[Piece]]:
        inks = self.inks
        rows: list[list[Piece]] = [[(f"  {title}", inks.accent)]]
        room = column - KEY_WIDTH - 4
        rows += [
            [("  " + fit(names, KEY_WIDTH), inks.title), (f" {cut(text, room)}", PLAIN)]
            for names, text in keys
        ]
        return rows

    def _states(self) -> list[list[Piece]]:
        inks = self.inks
        rows: list[list[Piece]] = [[("  States", inks.accent)]]
        looks = list(dict.fromkeys(words.LOOKS.values()))
        for at in range(0, len(looks), 2):
            row: list[Piece] = [("  ", PLAIN)]
            for look in looks[at : at + 2]:
                row += [(f"{look.glyph} ", inks.role(look.role)), (fit(look.word, 13), PLAIN)]
            rows.append(row)
        return rows


def _padded(pieces: list[Piece], width: int) -> list[Piece]:
    used = sum(cells(text) for text, _ in pieces)
    return [*pieces, (" " * max(0, width - used), PLAIN)]


class HelpScreen(ModalScreen[None]):
    """The keys that work on the screen below."""

    BINDINGS: ClassVar[list[BindingType]] = [key("", "escape,q,question_mark", "dismiss", "Close")]

    def __init__(self, screen: Screen[object]) -> None:
        super().__init__()
        shown = screen.query("*").exclude(".closing *")  # the prompt, if that is where help was asked for
        nodes = [node for node in shown if node.can_focus]
        self._shown = sections(nodes, [screen, screen.app])

    def compose(self) -> ComposeResult:
        """Only the text."""
        yield HelpText(self._shown)
