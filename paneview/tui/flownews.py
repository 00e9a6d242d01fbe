"""What a person hears of workflows wherever they are: only that they are needed, or that it is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paneview.control.flowmodel import FlowView
from paneview.tui import flowwords
from paneview.tui.picture import Change

MOST = 3  # toasts of one moment; of more than that only the number is told


def of(change: Change, flows: Mapping[str, FlowView]) -> Iterator[tuple[str, bool]]:
    """What to tell of these changes, and whether it is bad."""
    news = [
        told
        for name, before in change.flows.items()
        if name in flows and (told := flowwords.news(before, flows[name])) is not None
    ]
    yield from news[:MOST]
    if len(news) > MOST:
        yield f"and {len(news) - MOST} more workflows: 4 shows them", any(bad for _, bad in news[MOST:])
