"""What the screens of workflows have in common: the keys that act on one, and what is wrong with runners."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.screen import ModalScreen
from textual.strip import Strip

from paneview.control.errors import ControlError
from paneview.control.flowmodel import FlowView, PhaseView
from paneview.tui import flowactions
from paneview.tui import flowwords as words
from paneview.tui.background import in_background
from paneview.tui.canvas import line
from paneview.tui.keys import key
from paneview.tui.screens.base import MainScreen
from paneview.tui.text import clean, cut
from paneview.tui.widgets.flowpane import FlowPane


class FlowKeys(MainScreen):
    """Subclasses say which workflow and which phase is selected, and how to go to another one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("flow.approve", "A", "approve", "Approve", "Approve what waits"),
        key("flow.reject", "X", "reject", "Reject", "Reject it; asks why"),
        key("flow.retry", "r", "retry", "Retry", "Retry what failed"),
        key("flow.cancel", "c", "cancel", "Cancel", "Cancel it (asks first)"),
    ]

    @property
    def pane(self) -> FlowPane:
        """What is to be read."""
        return self.query_one(FlowPane)

    def has_targets(self) -> bool:
        """Here are workflows."""
        return False

    def flow(self) -> FlowView | None:
        """The selected workflow."""
        raise NotImplementedError

    def phase(self) -> PhaseView | None:
        """Its selected phase."""
        raise NotImplementedError

    def go_to_flow(self, flow: FlowView) -> None:
        """Select this one."""
        raise NotImplementedError

    async def on_unmount(self) -> None:
        """Nobody looks any more."""
        self.hear_nothing()

    def on_screen_suspend(self, _event: events.ScreenSuspend) -> None:
        """Covered by another screen: no transcript is read for nobody."""
        if not isinstance(self.app.screen, ModalScreen):
            self.pane.leave()

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        """On top again."""
        self.pane.resume()

    def _chosen(self) -> FlowView | None:
        flow = self.flow()
        if flow is None:
            self.pv.tell("no workflow is selected: a asks for one", failed=True)
        return flow

    async def action_approve(self) -> None:
        """Approve what waits for a person."""
        if flow := self._chosen():
            await flowactions.approve(self, flow, self.phase())

    async def action_reject(self) -> None:
        """No, and why."""
        if flow := self._chosen():
            await flowactions.reject(self, flow, self.phase())

    def action_retry(self) -> None:
        """Do again what failed."""
        if flow := self._chosen():
            flowactions.retry(self.pv, flow)

    def action_cancel(self) -> None:
        """Not wanted any more."""
        if flow := self._chosen():
            flowactions.cancel(self.pv, flow)

    # What is wrong

    def trouble(self) -> str:
        """Runners that are paused, or why the workflows are not known; empty if all is well."""
        picture = self.pv.picture
        if picture.flows_problem:
            return f"✗ {clean(picture.flows_problem)}"
        paused = words.pauses(picture.queue.paused, picture.clock()) if picture.queue is not None else ""
        return f"! {paused}" if paused else ""

    def paint_trouble(self, width: int, _height: int) -> list[Strip]:
        """The line that says what is wrong, where something is."""
        inks, text = self.pv.inks, self.trouble()
        ink = inks.failed if text.startswith("✗") else inks.attention
        return [line(width, inks.base, (cut(f" {text}", width), ink))]

    def hear_of_runners(self) -> None:
        """Hear of the queue, which tells of paused runners, while the screen is there."""
        in_background(self, self._hear_of_runners)

    async def _hear_of_runners(self) -> None:
        with suppress(ControlError):  # without a connection there is no news either
            await self.pv.link.hear("queue", self, on=True)
