"""News of workflows, shown on every screen: only that one needs a person, or that it is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paneview.control.flowmodel import FlowView
from paneview.tui.picture import Change
from paneview.tui.words import plural
from paneview.tui.workflows import words as flowwords

MOST = 3  # toasts at once; of further news only the number is shown


def of(change: Change, flows: Mapping[str, FlowView]) -> Iterator[tuple[str, bool]]:
    """The messages on these changes, and whether each is bad."""
    news = [
        told
        for name, before in change.flows.items()
        if name in flows and (told := flowwords.news(before, flows[name])) is not None
    ]
    yield from news[:MOST]
    if len(news) > MOST:
        more = plural(len(news) - MOST, "more workflow")
        yield f"and {more}: 4 shows all", any(bad for _, bad in news[MOST:])
