"""Status, health and inspection for people: the same glyphs and words as on the screen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from paneview.cli.output import (
    INKS,
    Cell,
    Column,
    again,
    clean,
    colourful,
    cut,
    paint,
    print_table,
    table,
    terminal_width,
)
from paneview.cli.times import stamp
from paneview.control.model import StatusView, TaskView
from paneview.tui import words

if TYPE_CHECKING:
    from paneview.cli.parser import Call

_AT_REST = {"idle", "done", "stopped"}
_EXPLAINED = {"failed", "waiting", "backoff"}
_STATUS = (
    Column("NAME", flex=True),
    Column("STATE"),
    Column("HEALTH", drop=3),
    Column("PID", right=True, drop=4),
    Column("UPTIME", right=True, drop=2),
    Column("RESTARTS", right=True, drop=5),
    Column("EXIT", right=True, drop=1),
    Column("CPU", right=True, drop=6),
    Column("MEM", right=True, drop=7),
)
_TIMES = {
    "started_at",
    "ended_at",
    "next_start_at",
    "next_probe_at",
    "waiting_since",
    "healthy_since",
    "due",
    "ts",
}
_SIZES = {"rss_bytes", "log_max_size"}


def print_status(call: Call, raw: dict[str, Any]) -> None:
    """The table of tasks, with a line of explanation under those that need one."""
    status = StatusView.from_json(raw)
    colour, limit = colourful(), terminal_width()
    if not status.running:
        print(f"{clean(status.session)}: no supervisor is running; this is what the last one left")
    if status.file_problem:
        first = status.file_problem.splitlines()[0].removeprefix((status.file or "").rpartition("/")[0] + "/")
        print(paint(cut(f"✗ the file is not applied: {clean(first)}", limit), "red", colour))
        hint = again(call, "what it said before goes on; 'paneview check' tells every mistake")
        print(paint(f"  └ {clean(hint)}", "dim", colour))
    if queue := raw.get("queue"):
        print_queue(call, queue)
    if not status.tasks:
        hint = again(call, "'paneview add NAME COMMAND' adds one")
        print(clean(f"{status.session} has no tasks yet: {hint}"))
        return
    now = datetime.now(UTC).timestamp()
    titles, *lines = table(_STATUS, [_cells(task, now) for task in status.tasks], limit, colour)
    print(titles)
    for task, line in zip(status.tasks, lines, strict=True):
        print(line)
        if task.reason and task.state in _EXPLAINED:
            print(paint(cut(f"  └ {clean(task.reason)}", limit), "dim", colour))


def print_queue(call: Call, queue: dict[str, Any]) -> None:
    """A line about the queue of jobs, and one for each worker that a person has to release."""
    colour, limit = colourful(), terminal_width()
    if queue["problem"]:
        print(paint(cut(f"✗ the queue cannot be reached: {clean(queue['problem'])}", limit), "red", colour))
        return
    numbers = [f"{queue[key]} {key}" for key in ("waiting", "running")]
    numbers += [paint(f"{queue['dead']} dead", "red", colour)] if queue["dead"] else []
    oldest = queue["oldest_age_s"]
    waits = f", the oldest for {words.duration(oldest)}" if oldest is not None else ""
    plural = "" if queue["workers"] == 1 else "s"
    print(f"queue {clean(queue['broker'])}: {', '.join(numbers)}{waits}; {queue['workers']} worker{plural}")
    for name, flag in queue["quarantined"].items():
        print(paint(cut(f"✗ {clean(words.quarantine_text(name, flag))}", limit), "red", colour))
        hint = again(call, f"'paneview unquarantine {name}' lets it start again")
        print(paint(f"  └ {clean(hint)}", "dim", colour))


def _cells(task: TaskView, now: float) -> list[Cell]:
    up = words.uptime(task, now)
    shape = words.look(task)
    return [
        Cell(task.name),
        Cell(words.state_text(task, now), INKS.get(shape.role)),
        Cell("-" if task.health == "none" else task.health),
        Cell(task.pid or "-"),
        Cell("-" if up is None else words.duration(up)),
        Cell(task.restarts),
        Cell(words.exit_text(task) or "-"),
        Cell("-" if task.cpu_percent is None else words.percent(task.cpu_percent)),
        Cell("-" if task.rss_bytes is None else words.size(task.rss_bytes)),
    ]


def print_health(raw: dict[str, Any]) -> None:
    """A line per task, and the count."""
    rows = []
    for task in raw["tasks"]:
        if task["healthy"]:
            said = Cell("✓ healthy", "green")
        elif task.get("state") in _AT_REST:  # nothing is the matter with it
            said = Cell("- not running", "dim")
        else:
            said = Cell("✗ not healthy", "red")
        rows.append([Cell(task["name"]), said, Cell(task.get("state") or ""), Cell(task.get("reason") or "")])
    columns = (
        Column("NAME", flex=True),
        Column("HEALTH"),
        Column("STATE", drop=1),
        Column("REASON", flex=True),
    )
    print_table(columns, rows)
    print(f"{raw['healthy_count']} of {raw['total_count']} healthy")


def print_inspect(raw: dict[str, Any]) -> None:
    """Every key with its value; lists of objects as tables."""
    colour, limit = colourful(), terminal_width()
    simple = {key: value for key, value in raw.items() if not _is_nested(value)}
    _print_pairs(simple, "", colour)
    for key, value in raw.items():
        if not _is_nested(value):
            continue
        print(f"\n{paint(clean(key), 'bold', colour)}")
        if isinstance(value, dict):
            _print_pairs(value, "  ", colour)
        else:
            for line in _object_table(value, limit - 2, colour):
                print(f"  {line}")


def _is_nested(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, dict) for item in value)
    return isinstance(value, dict) and bool(value)


def _print_pairs(pairs: dict[str, Any], indent: str, colour: bool) -> None:
    room = max((len(key) for key in pairs), default=0)
    for key, value in pairs.items():
        lines = str(_shown(key, value)).splitlines() or [""]
        print(f"{indent}{paint(clean(key).ljust(room), 'dim', colour)}  {clean(lines[0])}".rstrip())
        for line in lines[1:]:
            print(f"{indent}{' ' * room}  {clean(line)}")


def _object_table(items: list[dict[str, Any]], limit: int, colour: bool) -> list[str]:
    keys = [key for key in items[0] if any(item.get(key) is not None for item in items)]
    columns = [Column(key.upper(), drop=place, flex=place == 0) for place, key in enumerate(keys)]
    rows = [[Cell(_shown(key, item.get(key))) for key in keys] for item in items]
    return table(columns, rows, limit, colour)


def _shown(key: str, value: object) -> object:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(key, value)
    if isinstance(value, list):
        return ", ".join(str(_item(key, item)) for item in value) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{name}={_shown(name, inner)}" for name, inner in value.items()) or "-"
    return value


def _number(key: str, value: float) -> object:
    if key in _TIMES:
        return stamp(value)
    if key in _SIZES:
        return words.size(value)
    if key == "cpu_percent":
        return words.percent(value)
    if key == "uptime_s":
        return words.duration(value)
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def _item(key: str, item: Any) -> object:
    """An item of a list, as the configuration file would have it."""
    if key == "health_status":
        low, high = item
        return low if low == high else f"{low}-{high}"
    if key == "depends_on" and isinstance(item, dict):
        return f"{item['task']} ({item['condition']})"
    return _shown("", item)
