"""The ask prompt: a text of several lines becomes a workflow of agents or, after ``@worker``, a job of that worker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.widgets import Static, TextArea

from paneview.control.errors import ControlError
from paneview.control.flowmodel import dollars
from paneview.tui.ask import syntax as askwords
from paneview.tui.ask.text import AskText
from paneview.tui.background import in_background, lending_the_terminal
from paneview.tui.files import files_of
from paneview.tui.keys.bindings import key_text
from paneview.tui.screens.form import Field, Form
from paneview.tui.text import clean

HINT = "What is to be done? @ names a file, or at the beginning a worker"
KEYS = {"ask.send": "sends", "ask.newline": "breaks", "ask.complete": "completes", "ask.editor": "$EDITOR"}
LEAST, MOST = 3, 14  # lines of the text
LOW = 16  # lines: in a terminal with fewer the form omits its explanations
AROUND = 10  # lines of the form that are not the text


class AskForm(Form):
    """Asks for the text and sends it; dismissed with the workflow's or job's id, at Esc with an empty text."""

    AUTO_FOCUS = "#ask-text"

    def __init__(self, text: str = "", plan: str = "") -> None:
        super().__init__()
        self._first = text
        self._plan = plan
        self._plans: dict[str, dict[str, Any]] = {}
        self._no_plans = ""
        """Why the workflows could not be fetched; empty if nothing failed."""
        self._targets: list[str] = []
        self._files: list[str] = []
        self._folder: Path | None = None

    @property
    def text(self) -> AskText:
        """The field for the text."""
        return self.query_one(AskText)

    def compose(self) -> ComposeResult:
        """The text, three lines, and a note below them."""
        with Container(id="form", classes="ask"):
            yield Static("Ask agents", id="form-title", markup=False)
            yield Static("", id="form-keys", markup=False)
            yield AskText(self._first or self.pv.asked.draft, HINT, self._offer)
            for name, value, hint in (
                ("workflow", self._plan, "default"),
                ("folder", "", "the project's"),
                ("budget", "", "as the workflow has it"),
            ):
                with Horizontal(classes="form-row"):
                    yield Static(name, classes="form-label", markup=False)
                    yield Field(name, value, hint, ())
            yield Static("", id="form-note", markup=False)

    def on_mount(self) -> None:
        """Fetch the completions in the background, while the user types."""
        self._fit(self.app.size.height)
        self.set_focus(self.text)
        self.text.move_cursor(self.text.document.end)
        self.query_one("#form-keys", Static).update(self._keys())
        in_background(self, self._learn)
        self.note()

    def _keys(self) -> str:
        """What the keys do, with the user's key map applied."""
        found = {one.binding.id: one.binding.key for one in reversed(self.active_bindings.values())}
        shown = [f"{key_text(found[name])} {word}" for name, word in KEYS.items() if name in found]
        return " · ".join([*shown, "↑ earlier"])

    def on_resize(self, event: events.Resize) -> None:
        """As many lines of text as there is room for."""
        self._fit(event.size.height)

    def _fit(self, height: int) -> None:
        low = height < LOW
        self.set_class(low, "low")
        room = height - (7 if low else AROUND + 2)
        self.text.styles.height = max(LEAST, min(MOST if height >= 40 else 8, room))

    @on(TextArea.Changed)
    def drafted(self) -> None:
        """Keep unsent text for the next time."""
        if not self.sending:
            self.pv.asked.draft = self.text.text

    @on(AskText.Looked)
    def looked(self) -> None:
        """Another word is under the cursor."""
        self.note()

    def action_edit(self) -> None:
        """Write the text in the user's editor."""
        lending_the_terminal(self, self._edit)

    async def _edit(self) -> None:
        from paneview.tui.tasks.editing import in_editor

        written = await in_editor(self.pv, "ask.md", self.text.text)
        if written is not None:
            self.text.put(written.rstrip("\n"))

    # Sending

    def action_submit(self) -> None:
        """Send what was typed."""
        if self.sending:
            return
        asked = askwords.read(self.text.text, self._targets)
        if not asked.text:
            self.complain("What is to be done? Nothing is typed yet", self.text)
            return
        try:
            budget = read_budget(self.field("budget").value)
        except ValueError as error:
            self.complain(str(error), self.field("budget"))
            return
        self.sending = True
        in_background(self.app, self._send, *self._request(asked, budget), self.text.text)

    def _request(self, asked: askwords.Asked, budget: float | None) -> tuple[str, dict[str, Any]]:
        if asked.target:
            payload: dict[str, Any] = {"text": asked.text}
            if (folder := self._place()) and self.pv.picture.file:
                payload["context"] = {"working_dir": str(Path(self.pv.picture.file).parent / folder)}
            return "job_dispatch", {"target": asked.target, "kind": "prompt", "payload": payload}
        return "ask", {
            "text": asked.text,
            "workflow": self.field("workflow").value.strip() or "default",
            "cwd": self._place() or None,
            "budget_usd": budget,
            "by": os.environ.get("USER") or os.environ.get("LOGNAME") or "user",
        }

    async def _send(self, do: str, args: dict[str, Any], text: str) -> None:
        pv = self.pv
        if (reply := await self.send(do, args)) is None:
            return
        made = self._sent_to_worker(reply) if do == "job_dispatch" else self._has_begun(reply)
        if pv.asked.draft == text:
            pv.asked.draft = ""
        self.close_with(made)
        try:
            await asyncio.to_thread(pv.asked.add, pv.picture.file, text.strip())
        except OSError as error:
            pv.tell(f"what was asked is not remembered: {error}", failed=True)

    def _sent_to_worker(self, reply: dict[str, Any]) -> str:
        self.pv.tell(f"{reply['id']} for {clean(str(reply['target']))}: 3 shows it")
        return str(reply["id"])

    def _has_begun(self, reply: dict[str, Any]) -> str:
        flow = self.pv.picture.take_flow(reply["workflow"])
        self.pv.tell(f"{clean(flow.id)} has begun: 4 shows it")
        if missing := reply.get("without_worker"):
            names = ", ".join(map(clean, missing))
            self.pv.tell(
                f"no worker is alive for {names}: 'paneview workflow-setup' starts some", failed=True
            )
        return flow.id

    # Completions

    async def _learn(self) -> None:
        await asyncio.gather(
            self._learn_history(), self._learn_plans(), self._learn_workers(), self._learn_files()
        )
        self.note()

    async def _learn_history(self) -> None:
        self.text.remember(await asyncio.to_thread(self.pv.asked.of, self.pv.picture.file))

    async def _learn_plans(self) -> None:
        try:
            reply = await self.pv.link.call("workflow_plans")
        except ControlError as error:
            self._no_plans = error.message
            return
        self._plans = {plan["name"]: plan for plan in reply.get("plans", ())}
        self.field("workflow").know(list(self._plans))

    async def _learn_workers(self) -> None:
        picture = self.pv.picture
        if picture.queue is None:
            try:
                picture.take_queue(await self.pv.link.call("queue"))
            except ControlError:
                return  # no workers to offer; sending shows its own errors
        self._targets = askwords.workers(picture.queue)

    async def _learn_files(self) -> None:
        """Fetch the files of the typed folder; the first time, also the folders that can be completed."""
        if self.pv.picture.file is None:  # the project is not known yet
            return
        folder = Path(self.pv.picture.file).parent / self._place()
        if folder == self._folder:
            return
        first, self._folder = self._folder is None, folder
        found = await files_of(folder)
        if first:
            self.field("folder").know([name.rstrip("/") for name in found if name.endswith("/")])
        if folder == self._folder:  # else another one was typed meanwhile
            self._files = found

    def _place(self) -> str:
        """The folder typed; a relative one is relative to the project's."""
        return os.path.expanduser(self.field("folder").value.strip().replace("\0", ""))

    def _offer(self, at: askwords.Token) -> list[str]:
        return askwords.offered(at, self._targets, self._files)

    # The note below

    def note(self) -> None:
        """Show the completions of the line being typed, else what Enter will do."""
        if not self.is_attached or not self.query("#form-note"):
            return
        field = self.focused
        if isinstance(field, AskText):
            if field.token() is not None:
                self.show(self._offered(field.offers(), "no such file or worker"))
                in_background(self, self._learn_files)
                return
        elif isinstance(field, Field) and field.known:
            found = field.matches()
            if found and found != [field.value.strip()]:
                self.show(self._offered(found, ""))
                return
        self.show(self._about())

    def _about(self) -> str:
        asked = askwords.read(self.text.text, self._targets)
        if asked.target:
            return f"enter gives it to {asked.target}"
        name = self.field("workflow").value.strip() or "default"
        plan = self._plans.get(name)
        if plan is None and self._no_plans:
            return f"✗ {self._no_plans}"
        if plan is None:
            return (
                f"there is no workflow {name}; there are {', '.join(self._plans)}"
                if self._plans
                else "loading…"
            )
        phases = " → ".join(
            one["name"] + (" ◆" if one["approve"] == "always" else "") for one in plan["phases"]
        )
        own = plan.get("budget_usd")
        budget = f" · at most ${own:g}" if own is not None and not self.field("budget").value.strip() else ""
        where = " · in a worktree of its own" if plan["isolation"] == "worktree" else ""
        about = f": {plan['description']}" if plan.get("description") else ""
        return f"enter begins {name}, {phases}{where}{budget}{about}"

    def _offered(self, found: Sequence[str], nothing: str) -> str:
        if not found:
            return nothing
        width = max(20, 2 * (self.query_one("#form-note").size.width or 60) - 12)
        shown = f"tab {found[0]}"
        for at, name in enumerate(found[1:], 1):
            if len(shown) + len(name) + 2 > width:
                return f"{shown}  … {len(found) - at} more"
            shown += f"  {name}"
        return shown


def read_budget(text: str) -> float | None:
    """The budget in dollars; None: the workflow's own. Raises ValueError for anything but an amount above 0."""
    text = text.strip()
    if text in {"", "$"}:
        return None
    if (value := dollars(text)) is None:
        raise ValueError(f"the budget is an amount of dollars above 0, such as 2.50, not {text!r}")
    return value
