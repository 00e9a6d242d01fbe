"""The form for a new job: target, kind and payload. Completes what is known, sends only valid JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.widgets import Static

from paneview.control.errors import ControlError
from paneview.control.queuemodel import QueueView
from paneview.tui.background import in_background
from paneview.tui.screens.form import Field, Form
from paneview.tui.text import clean

KINDS = ("prompt", "ping", "shutdown")
SHOWN = 6  # completions that are listed
UNKNOWN = {
    "form-target": "none of that name is known now; the job waits until one comes",
    "form-kind": "no worker here is known to do that kind",
}


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


class DispatchForm(Form):
    """Asks for a job and sends it; dismissed with its id once the queue has it, at Esc with an empty text."""

    AUTO_FOCUS = "#form-target"

    def __init__(self, target: str = "", kind: str = "", payload: str = "") -> None:
        super().__init__()
        self._values = (target, kind, payload)
        self._tasks: list[str] = []

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
        self.note()

    def action_submit(self) -> None:
        """Enter: go to the next line that must be filled in, else send the job."""
        if self.sending:
            return
        target, kind = self.field("target"), self.field("kind")
        if not target.value.strip():
            self.complain("For whom? 'any' is for whoever is free", target)
            return
        payload = self.field("payload")
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
            self.complain(str(error), payload)
            return
        self.sending = True
        args = {"target": target.value.strip(), "kind": kind.value.strip(), "payload": value}
        in_background(self.app, self._send, args)

    async def _send(self, args: dict[str, Any]) -> None:
        if (reply := await self.send("job_dispatch", args)) is None:
            return
        there = "" if reply.get("created", True) else " was there already"
        self.pv.tell(f"{reply['id']}: {clean(args['kind'])} for {clean(str(reply['target']))}{there}")
        self.close_with(str(reply["id"]))

    async def _learn(self) -> None:
        if self.pv.picture.queue is None:
            try:
                self.pv.picture.take_queue(await self.pv.link.call("queue"))
            except ControlError as error:
                self.complain(error.message, None)
                return
        self.field("target").know(targets(self.pv.picture.queue, self._tasks))
        self.field("kind").know(kinds(self.pv.picture.queue))
        self.note()

    def note(self) -> None:
        """Show what the focused line can be completed to; for the payload, what will be sent."""
        field = self.focused
        if not isinstance(field, Field):
            return
        if field.id == "form-payload":
            self.show(self._about_payload(field.value))
            return
        found = field.matches()
        more = f"  … {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        self.show("  ".join(found[:SHOWN]) + more or UNKNOWN[str(field.id)])

    def _about_payload(self, text: str) -> str:
        try:
            value = read_payload(self.field("kind").value.strip() or KINDS[0], text)
        except ValueError as error:
            return str(error)
        if not text.strip():
            return "enter sends it without a payload"
        return f"enter sends {json.dumps(value, ensure_ascii=False)}"
