"""The form for a new job: target, kind and payload. Completes what is known, sends only valid JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from paneview.control.errors import ControlError
from paneview.control.queuemodel import QueueView
from paneview.tui.background import in_background
from paneview.tui.keys.bindings import key
from paneview.tui.keys.inorder import InOrder
from paneview.tui.once import Once
from paneview.tui.text import clean

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp

KINDS = ("prompt", "ping", "shutdown")
SHOWN = 6  # completions that are listed


def targets(queue: QueueView | None, tasks: Iterable[str] = ()) -> list[str]:
    """The targets to offer: any, live workers, roles, hosts, targets that have jobs now, and ``tasks``."""
    if queue is None:
        return ["any", *tasks]
    alive = [worker for worker in queue.workers if worker.alive]
    found = [
        "any",
        *sorted({worker.name for worker in alive}),
        *sorted({f"role:{role}" for worker in alive for role in worker.roles}),
        *sorted({f"host:{worker.host}" for worker in alive}),
        *sorted({f"role:{role}@{worker.host}" for worker in alive for role in worker.roles}),
        *[lane.target for lane in queue.lanes],
        *tasks,
    ]
    return list(dict.fromkeys(found))


def kinds(queue: QueueView | None) -> list[str]:
    """Kinds of jobs: those that every worker knows, and those that present workers have handlers for."""
    own = sorted({kind for worker in queue.workers for kind in worker.kinds}) if queue is not None else []
    return list(dict.fromkeys([*KINDS, *own]))


def read_payload(kind: str, text: str) -> Any:
    """The payload; None if empty. A prompt may be plain text; anything else that is not JSON raises ValueError."""
    text = text.strip()
    if not text:
        return None
    try:
        return json.loads(text, parse_constant=_refused)
    except RecursionError:
        raise ValueError("the payload is nested too deeply") from None
    except ValueError as error:
        if kind == "prompt" and text[0] not in '{["':
            return {"text": text}
        where = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        words = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise ValueError(f"the payload is not JSON: {words}{where}") from None


def _refused(name: str) -> NoReturn:
    raise ValueError(f"it has no {name}")


class Field(InOrder, Input):
    """A line of the form. Tab takes the suggestion, else goes to the next line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("form.next", "tab", "complete_or_next", "Complete", "Complete, or next line"),
        key("form.down", "down", "screen.focus_next", "Next"),
        key("form.up", "up,shift+tab", "screen.focus_previous", "Previous"),
        key("form.submit", "enter", "screen.submit", "Send"),
    ]

    def __init__(self, name: str, value: str, hint: str, known: Sequence[str]) -> None:
        suggester = SuggestFromList(known, case_sensitive=True) if known else None
        super().__init__(
            value, placeholder=hint, suggester=suggester, compact=True, id=f"form-{name}", classes="form-line"
        )
        self.known = list(known)
        self.cursor_blink = False

    def know(self, known: Sequence[str]) -> None:
        """Set what it can be completed to."""
        self.known = list(known)
        self.suggester = SuggestFromList(self.known, case_sensitive=True)

    def matches(self) -> list[str]:
        """What it can be completed to, words that begin with the text first."""
        typed = self.value.strip()
        first = [word for word in self.known if word.startswith(typed)]
        return [*first, *[word for word in self.known if typed in word and word not in first]]

    def action_complete_or_next(self) -> None:
        """Take the suggestion, or go on."""
        first = next(iter(self.matches()), "")
        if self.value and first.startswith(self.value) and first != self.value:
            self.value = first
            self.cursor_position = len(first)
        else:
            self.screen.focus_next()


class DispatchForm(ModalScreen[str]):
    """Asks for a job and sends it; dismissed with its id once the queue has it, at Esc with an empty text."""

    AUTO_FOCUS = "#form-target"
    BINDINGS: ClassVar[list[BindingType]] = [key("", "escape", "refuse", "Cancel")]

    def __init__(self, target: str = "", kind: str = "", payload: str = "") -> None:
        super().__init__()
        self._values = (target, kind, payload)
        self._sending = False
        self._once = Once()
        self._tasks: list[str] = []

    @property
    def pv(self) -> PaneviewApp:
        """The app, with its own type."""
        return cast("PaneviewApp", self.app)

    def compose(self) -> ComposeResult:
        """Three lines, and a note below them."""
        target, kind, payload = self._values
        queue = self.pv.picture.queue
        self._tasks = [task.name for task in self.pv.picture.tasks.values() if task.group == "workers"]
        fields = (
            Field(
                "target", target, "any, a worker, role:R, role:R@HOST, host:H", targets(queue, self._tasks)
            ),
            Field("kind", kind, "prompt", kinds(queue)),
            Field("payload", payload, 'JSON such as {"n": 1}; of a prompt also plain text', ()),
        )
        with Container(id="form"):
            yield Static("Dispatch a job", id="form-title", markup=False)
            yield Static(
                "tab completes · enter goes on and sends · esc cancels", id="form-keys", markup=False
            )
            for name, field in zip(("target", "kind", "payload"), fields, strict=True):
                with Horizontal(classes="form-row"):
                    yield Static(name, classes="form-label", markup=False)
                    yield field
            yield Static("", id="form-note", markup=False)

    def on_mount(self) -> None:
        """Fetch the completions, unless the queue is known already."""
        in_background(self, self._learn)
        self._note()

    @on(Input.Changed)
    def typed(self) -> None:
        """Show the completions, or what is wrong so far."""
        self._note()

    def on_descendant_focus(self) -> None:
        """Another line has the focus; it has a note of its own."""
        self._note()

    def action_refuse(self) -> None:
        """Leave the form, and send nothing."""
        self.dismiss("")

    def action_submit(self) -> None:
        """Enter: go to the next line that must be filled in, else send the job."""
        if self._sending:
            return
        target, kind = self._field("target"), self._field("kind")
        if not target.value.strip():
            self._say("For whom? 'any' is for whoever is free", target)
            return
        payload = self._field("payload")
        if not kind.value.strip():
            kind.value = "" if self.focused is target else KINDS[0]
            if self.focused is not payload:
                self.set_focus(payload if kind.value else kind)
                return
        if (
            not payload.value
            and self.focused is not payload
            and kind.value.strip() not in ("ping", "shutdown")
        ):
            self.set_focus(payload)
            return
        try:
            value = read_payload(kind.value.strip(), payload.value)
        except ValueError as error:
            self._say(str(error), payload)
            return
        self._sending = True
        args = {"target": target.value.strip(), "kind": kind.value.strip(), "payload": value}
        # Owned by the app: it is sent, and reported, even if the form is closed meanwhile.
        in_background(self.app, self._send, args)

    async def _send(self, args: dict[str, Any]) -> None:
        pv = self.pv
        try:
            reply = await pv.link.call("job_dispatch", key=self._once.key("job_dispatch", args), **args)
        except ControlError as error:
            self._sending = False
            if self in pv.screen_stack:  # else it was closed, and may only not be taken down yet
                self._say(error.message, None)
            else:
                pv.tell(error.message, failed=True)
            return
        there = "" if reply.get("created", True) else " was there already"
        pv.tell(f"{reply['id']}: {clean(args['kind'])} for {clean(str(reply['target']))}{there}")
        self._sending = False
        if pv.screen is self:
            self.dismiss(str(reply["id"]))

    async def _learn(self) -> None:
        if self.pv.picture.queue is None:
            try:
                self.pv.picture.take_queue(await self.pv.link.call("queue"))
            except ControlError as error:
                self._say(error.message, None)
                return
        self._field("target").know(targets(self.pv.picture.queue, self._tasks))
        self._field("kind").know(kinds(self.pv.picture.queue))
        self._note()

    def _field(self, name: str) -> Field:
        return self.query_one(f"#form-{name}", Field)

    def _note(self) -> None:
        """Show what the focused line can be completed to; for the payload, what will be sent."""
        field = self.focused
        if not isinstance(field, Field):
            return
        note = self.query_one("#form-note", Static)
        if field.id == "form-payload":
            note.update(self._about_payload(field.value))
            return
        found = field.matches()
        more = f"  … {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        note.update(clean("  ".join(found[:SHOWN]) + more) or "no such one is known; it may come")

    def _about_payload(self, text: str) -> str:
        try:
            value = read_payload(self._field("kind").value.strip() or KINDS[0], text)
        except ValueError as error:
            return clean(str(error))
        return clean(
            f"enter sends {json.dumps(value, ensure_ascii=False)}"
            if text.strip()
            else "enter sends it without"
        )

    def _say(self, text: str, field: Field | None) -> None:
        if field is not None:
            self.set_focus(field)
        note = self.query_one("#form-note", Static)
        # After the note that the change of focus shows.
        self.call_after_refresh(note.update, clean(f"✗ {text}"))
