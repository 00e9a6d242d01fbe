"""A workflow's details in one pane: its facts and results, a run's live transcript, or its diff."""

from __future__ import annotations

from paneview.control.errors import ControlError
from paneview.control.flowmodel import FlowView, PhaseView
from paneview.tui.background import in_background
from paneview.tui.text import clean
from paneview.tui.widgets.textpane import Line, TextPane
from paneview.tui.words import plural
from paneview.tui.workflows import text as flowtext
from paneview.tui.workflows import words
from paneview.tui.workflows.transcript import Transcript

VIEWS = ("about", "run", "diff")
_NAMES = {"about": "about", "run": "transcript", "diff": "diff"}
_LIVE = ("running", "verifying", "queued")


def natural_view(flow: FlowView) -> str:
    """The initial view: the transcript of a phase that runs, else the facts, with what there is to decide."""
    at = flow.current
    return (
        "run"
        if at is not None and at.status in _LIVE and at.attempt and not flow.waits_for_person
        else "about"
    )


class FlowPane(TextPane):
    """Shows what `look` asks for: fetches it, and fetches it again when the workflow has changed."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.view = "about"
        self._flow: FlowView | None = None
        self._phase: PhaseView | None = None
        self._transcript: Transcript | None = None
        self._fetching = False
        self._again = False
        self.busy = False
        """Whether what should be shown has been requested but has not come yet."""

    def look(self, flow: FlowView | None, view: str = "about", phase: str | None = None) -> None:
        """Show this view of the workflow; ``phase`` is the one whose transcript is shown."""
        if flow is None:
            self.leave()
            self._flow, self.title = None, ()
            self.show(None, [Line("Enter opens a workflow", "dim")])
            return
        shown = flow.phase(phase or "") or flow.current
        before = self._key()
        same = flow is self._flow
        self._flow, self.view, self._phase = flow, view, shown
        self._entitle()
        if self._key() != before:
            self.leave()
            self._begin()
        elif not same and view != "run":
            in_background(self, self._fetch)
        else:
            self.redraw()

    def leave(self) -> None:
        """The pane is not visible: stop reading the transcript."""
        if self._transcript is not None:
            self._transcript.close()
            self._transcript = None
            self.busy = False

    def resume(self) -> None:
        """The pane is visible again: read the transcript anew."""
        if self._flow is not None and self.view == "run" and self._transcript is None:
            self._begin()

    def on_unmount(self) -> None:
        """Stop reading the transcript."""
        self.leave()

    def text(self) -> str:
        """What is shown, as plain text."""
        return "\n".join(one.text if not one.label else f"{one.label}: {one.text}" for one in self.lines)

    def _key(self) -> tuple[object, ...]:
        if self._flow is None:
            return ()
        if self.view != "run" or self._phase is None:
            return self._flow.id, self.view
        return self._flow.id, self.view, self._phase.name, self._phase.attempt

    def _entitle(self) -> None:
        flow, phase = self._flow, self._phase
        assert flow is not None
        self.title = [(_NAMES[self.view], "title")]
        if self.view == "run" and phase is not None:
            look = words.phase_look(phase, self.pv.picture.clock())
            number = f" run {phase.attempt}" if phase.attempt > 1 else ""
            self.title = [
                *self.title,
                (f"{phase.name}{number}", "accent"),
                (f"{look.glyph} {look.word}", look.role),
            ]

    def _begin(self) -> None:
        flow, phase = self._flow, self._phase
        assert flow is not None
        if self.view == "run":
            self._read(flow, phase)
            return
        self.busy = True
        if self.view == "about":
            self.show(self._key(), flowtext.about(flow, None, self.pv.picture.clock()))
        else:
            self.show(self._key(), [Line("loading…", "dim")])
        in_background(self, self._fetch)

    def _read(self, flow: FlowView, phase: PhaseView | None) -> None:
        if phase is None or not phase.attempt:
            why = f": {phase.reason}" if phase is not None and phase.reason else ""
            self.show(
                self._key(), [Line(f"It has not run yet{why}. v shows what is known of the workflow", "dim")]
            )
            return
        self.busy = True
        self.show(self._key(), [Line("loading…", "dim")], follow=True)
        self._transcript = Transcript(self.pv.link.call, flow.id, phase.name, phase.attempt, self._told)

    def _told(self, lines: list[Line], first: bool) -> None:
        if not self.is_attached:
            return
        self.busy = False
        if first:
            self._silent = not lines
            self.show(self._key(), lines or [Line("Nothing has been shown so far.", "dim")], follow=True)
        elif self._silent:
            self._silent = False
            self.show(self._key(), lines, follow=True)
        else:
            self.add(lines)

    _silent = False

    async def _fetch(self) -> None:
        """Fetch what is shown, and again if the workflow changes meanwhile."""
        if self._fetching:
            self._again = True
            return
        self._fetching = True
        try:
            while True:
                self._again = False
                await self._fetch_once()
                if not self._again:
                    return
        finally:
            self._fetching = False

    async def _fetch_once(self) -> None:
        flow, key, title = self._flow, self._key(), self.title
        if flow is None or self.view == "run":
            return
        try:
            if self.view == "about":
                whole = (await self.pv.link.call("workflow", id=flow.id))["workflow"]
                now = self.pv.picture.clock()
                lines = list(flowtext.about(FlowView.from_json(whole), whole, now))
            else:
                reply = await self.pv.link.call("workflow_diff", id=flow.id)
                title = [("diff", "title"), (_changed(reply), "accent")]
                lines = list(flowtext.diff(reply))
        except ControlError as error:
            lines = [Line(clean(error.message), "failed")]
        if key == self._key():
            self.busy, self.title = False, title
            self.show(key, lines)
        else:
            self._again = True


def _changed(reply: dict[str, object]) -> str:
    lines, files = int(str(reply["lines"] or 0)), int(str(reply["files"] or 0))
    return f"{plural(lines, 'line')} in {plural(files, 'file')} since {str(reply['base'])[:10]}"
