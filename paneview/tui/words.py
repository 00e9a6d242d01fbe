"""How things are written on the screen: states as glyph and word, durations, sizes.

Everything here is a pure function of what the supervisor sent and the time, so that the table, the header and the
help say the same thing, and a state is never shown by colour alone.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from paneview.control.model import TaskView
from paneview.tui.text import clean


class Look(NamedTuple):
    """How a state is shown: a glyph of one cell, a word, and the colour's role (an attribute of `theme.Inks`)."""

    glyph: str
    word: str
    role: str


LOOKS = {
    "asking": Look("◆", "needs input", "attention"),
    "idle": Look("○", "idle", "dim"),
    "waiting": Look("◔", "waiting", "attention"),
    "starting": Look("◐", "starting", "attention"),
    "running": Look("●", "running", "ok"),
    "healthy": Look("●", "healthy", "ok"),
    "unready": Look("◐", "not ready", "attention"),
    "unhealthy": Look("▲", "unhealthy", "failed"),
    "stopping": Look("◑", "stopping", "attention"),
    "backoff": Look("↻", "retry", "attention"),
    "done": Look("✓", "done", "ok"),
    "failed": Look("✗", "failed", "failed"),
    "quarantined": Look("⊘", "quarantined", "failed"),
    "stopped": Look("■", "stopped", "dim"),
}
_HEALTH_WORDS = {"healthy": "healthy", "unhealthy": "unhealthy", "starting": "unready"}

# By urgency: what needs a person first, what is in order last. A short change (starting, stopping) ranks with what
# runs, so that rows do not jump about while a project comes up.
_RANKS = {
    "asking": 0,
    "failed": 1,
    "quarantined": 1,
    "unhealthy": 2,
    "waiting": 3,
    "backoff": 3,
    "unready": 4,
    "starting": 4,
    "stopping": 4,
}
_RANKS |= {"running": 4, "healthy": 4, "idle": 5, "stopped": 5, "done": 5}
# What a person should look at, and what is changing: the header counts these.
NEEDS_PERSON = frozenset({"asking", "failed", "quarantined", "unhealthy"})
CHANGING = frozenset({"waiting", "starting", "stopping", "backoff", "unready"})
NO_TASKS = "No tasks yet. 'paneview add NAME COMMAND' adds one; or edit the file, then :reload"


def condition(task: TaskView) -> str:
    """The key of `LOOKS` for this task: its state or, if it runs, its health, unless it waits for input."""
    if task.needs_input:
        return "asking"
    if task.state == "running":
        return _HEALTH_WORDS.get(task.health, "running")
    if task.state == "failed" and task.quarantined:
        return "quarantined"
    return task.state


def look(task: TaskView) -> Look:
    """How this task's state is shown."""
    found = condition(task)
    return LOOKS.get(found) or Look("?", clean(found), "attention")


def state_text(task: TaskView, now: float) -> str:
    """Glyph and word, with the time left if a restart is due."""
    shape = look(task)
    if task.state == "backoff" and task.next_start_at:
        return f"{shape.glyph} retry {duration(max(0.0, task.next_start_at - now))}"
    return f"{shape.glyph} {shape.word}"


def reason(task: TaskView) -> str:
    """Why it is as it is, in the supervisor's words."""
    return clean(task.reason or "")


def cause(task: TaskView) -> str:
    """What led to its state, empty if that says it all; from an older supervisor, which sends no cause, the reason."""
    return clean((task.reason if task.cause is None else task.cause) or "")


def rank(task: TaskView) -> int:
    """The smaller the more urgent."""
    return _RANKS.get(condition(task), 2)


def duration(seconds: float) -> str:
    """At most six characters, coarser the longer it is, so that an old uptime seldom changes: 59s 9m59s 42m 3h20m."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes}m"
    days, hours = divmod(hours, 24)
    if not days:
        return f"{hours}h{minutes:02}m"
    return f"{days}d{hours:02}h" if days < 100 else f"{days}d"


def age(seconds: float) -> str:
    """Like `duration`, but whole minutes from the first one on, so that an idle screen has nothing to draw."""
    return duration(seconds) if seconds < 60 else duration(seconds // 60 * 60).removesuffix("00s")


def moment(at: float, now: float) -> str:
    """A future moment in local time: 03:00, with its date if that is not today's."""
    there, here = time.localtime(at), time.localtime(now)
    return time.strftime("%H:%M" if there[:3] == here[:3] else "%Y-%m-%d %H:%M", there)


def dated(at: float, now: float) -> str:
    """A moment's local time of day, with its date if that is not today's."""
    there, here = time.localtime(at), time.localtime(now)
    return time.strftime("%H:%M:%S" if there[:3] == here[:3] else "%Y-%m-%d %H:%M:%S", there)


def clock(at: float, *, parts: bool = False) -> str:
    """A moment's local time of day, with milliseconds if asked."""
    text = time.strftime("%H:%M:%S", time.localtime(at))
    return f"{text}.{int(at % 1 * 1000):03}" if parts else text


def size(count: float) -> str:
    """Bytes in at most five characters: 812K 14M 1.2G."""
    for unit in ("K", "M", "G", "T"):
        count /= 1024
        if count < 999.5:
            return f"{count:.1f}{unit}" if count < 9.95 and unit in "GT" else f"{count:.0f}{unit}"
    return f"{count:.0f}T"


def percent(value: float) -> str:
    """Per cent of one core in at most five characters."""
    return f"{value:.1f}%" if value < 99.95 else f"{value:.0f}%"


def signal_name(number: int) -> str:
    """KILL, TERM, SEGV …; SIG and the number if it has no name."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return f"SIG{number}"


def exit_text(task: TaskView) -> str:
    """How its last run ended: a signal's name or an exit code; empty if neither is known."""
    if task.signal:
        return signal_name(task.signal)
    return "" if task.exit_code is None else str(task.exit_code)


def quarantine_text(name: str, mark: Mapping[str, Any]) -> str:
    """A sentence on a worker that the queue has quarantined: its name, where, and why."""
    host = mark.get("host")
    where = f" on {host}" if host and not name.endswith(f"@{host}") else ""
    return f"{name} is quarantined{where}: {mark.get('reason', '')}"


def uptime(task: TaskView, now: float) -> float | None:
    """Seconds since the current run started, None if there is none."""
    if task.started_at is None or task.state not in ("running", "starting", "stopping"):
        return None
    return max(0.0, now - task.started_at)


def uptime_text(task: TaskView, now: float) -> str:
    """The uptime as it is shown; empty if there is none."""
    up = uptime(task, now)
    return "" if up is None else age(up)


def plural(count: int, word: str) -> str:
    """1 line, 2 lines; 2 processes."""
    ending = "" if count == 1 else "es" if word.endswith("s") else "s"
    return f"{count:,} {word}{ending}"


def listed(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    shown = [clean(name) for name in names[:4]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
