"""The records of the state database, as frozen structs. Times are epoch seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from paneview.config.secrets import Masker


class RunRow(Struct, frozen=True):
    """One run of a task, with everything needed to find its process and pane again."""

    id: int
    task: str
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    cause: str | None = None  # why it was started
    end_reason: str | None = None  # why it ended
    pid: int | None = None
    start_ticks: int | None = None  # with pid and boot_id: the identity of a process
    pane_id: str | None = None
    window_id: str | None = None
    boot_id: str | None = None
    tmux_pid: int | None = None
    tmux_start: int | None = None


class EventRow(Struct, frozen=True):
    """Something that happened to a task or to the supervisor itself."""

    id: int
    ts: float
    kind: str
    task: str | None = None
    run: int | None = None
    cause: str | None = None  # what led to it
    actor: str | None = None  # who caused it: "user:<client>", "supervisor", …
    detail: Mapping[str, Any] = {}

    def masked(self, masker: Masker) -> EventRow:
        """The same event without secrets."""
        return replace(self, cause=masker.json(self.cause), detail=masker.json(self.detail))

    def to_json(self, session: str) -> dict[str, Any]:
        """The event as clients see it; `tasks` of an event about several tasks is a top-level key, as in taskmux."""
        tasks = {"tasks": self.detail["tasks"]} if "tasks" in self.detail else {}
        return {
            "id": self.id,
            "ts": self.ts,
            "event": self.kind,
            "session": session,
            "task": self.task,
            **tasks,
            "run": self.run,
            "cause": self.cause,
            "actor": self.actor,
            "detail": dict(self.detail),
        }


class Change(Struct, frozen=True):
    """Changes that become durable together, or not at all.

    A task's value is any JSON object; None deletes the task. A run replaces the stored run of the same id.
    """

    tasks: Mapping[str, Mapping[str, Any] | None] = {}
    runs: Sequence[RunRow] = ()
    events: Sequence[EventRow] = ()


class Loaded(Struct, frozen=True):
    """The state a new supervisor starts from."""

    tasks: dict[str, dict[str, Any]]
    runs: dict[int, RunRow]  # the latest of each task, and every one that has not ended
    next_run: int
    next_event: int
    moved_aside: Path | None = None  # where a damaged database was put; everything above is then empty
