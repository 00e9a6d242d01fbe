"""Help and version, made from the table of verbs."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from paneview import __version__
from paneview.cli.output import print_json
from paneview.cli.verbs import OPEN, PARSER, SHARED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from paneview.cli.parser import Call, Option, Verb

WIDTH = 80
_OPENING = (
    "Without a command: open the screen for FILE (default: the paneview.toml or taskmux.toml in this folder or above), "
    "and start the project if it is not running."
)
_GROUPS = (
    ("Run", ("start", "stop", "restart", "kill", "down", "scale", "reload", "daemon")),
    ("Look", ("status", "health", "inspect", "events", "logs", "attach", "watch", "export")),
    ("Change", ("init", "check", "add", "remove", "schema", "logs-clean", "completion")),
    (
        "Queue",
        (
            "submit",
            "dispatch",
            "dispatch-role",
            "broadcast",
            "jobs",
            "job",
            "result",
            "cancel",
            "dlq",
            "queue",
        ),
    ),
    ("Workers", ("worker", "workers", "hosts", "unquarantine", "runner", "watchdog", "service")),
    (
        "Agents",
        ("ask", "workflow", "workflows", "workflow-status", "workflow-setup", "workflow-teardown"),
    ),
)


def show(call: Call) -> int:
    """Print the version, or the help of the call's verb."""
    if call.flag("version"):
        if call.json:
            print_json({"ok": True, "version": __version__})
        else:
            print(f"paneview {__version__}")
    elif call.json:
        print_json({"ok": True, **describe(call.verb)})
    else:
        print("\n".join(help_lines(call.verb)))
    return 0


def describe(verb: Verb) -> dict[str, Any]:
    """A verb and its options as data."""
    shown = {
        "command": verb.name,
        "aliases": list(verb.aliases),
        "usage": _usage(verb),
        "summary": verb.summary,
        "example": verb.example,
        "options": [
            {"names": option.names, "value": option.metavar, "help": option.help}
            for option in PARSER.options(verb)
            if not option.hidden
        ],
    }
    if verb is OPEN:
        shown["commands"] = [describe(other) for other in PARSER.load_all() if not other.hidden]
    elif verb.subs:
        shown["commands"] = [describe(sub) for sub in verb.subs.values()]
    return shown


def help_lines(verb: Verb) -> list[str]:
    """The help text of one verb, or of the program."""
    lines = [*wrap(f"Usage: {_usage(verb)}", WIDTH, subsequent_indent=" " * 9, break_on_hyphens=False), ""]
    lines += _wrap(verb.summary, "")
    if verb.aliases:
        lines += ["", f"Also: {', '.join(verb.aliases)}"]
    if verb is OPEN:
        PARSER.load_all()
        lines += ["", *_wrap(_OPENING, "")]
        for title, names in _GROUPS:
            lines += ["", f"{title}:"]
            for name in names:
                lines += _entry(name, PARSER.verbs[name].summary, 14)
    if verb.subs:
        lines += ["", "Commands:"]
        for name, sub in verb.subs.items():
            lines += _entry(f"{name} {sub.words}".strip(), sub.summary, 24)
        lines += ["", *_wrap(f"'paneview {verb.name} COMMAND --help' explains one.", "")]
    own = [option for option in verb.options if not option.hidden]
    if own:
        lines += ["", "Options:", *_options(own)]
    lines += ["", "Options of every command:" if own or verb is OPEN else "Options:", *_options(SHARED)]
    lines += ["", "Example:", f"  {verb.example}"]
    if verb is OPEN:
        lines += ["", "Exit status: 0 done, 1 failed, 2 bad usage or configuration, 3 no supervisor runs."]
    return lines


def _usage(verb: Verb) -> str:
    if verb is OPEN:
        return "paneview [FILE] | paneview COMMAND [OPTIONS] …"
    options = " [OPTIONS]" if verb.options else ""
    words = f" {verb.words}" if verb.words else ""
    return f"paneview {verb.name}{' [COMMAND]' if verb.subs else ''}{options}{words}"


def _options(options: Iterable[Option]) -> list[str]:
    lines: list[str] = []
    for option in options:
        names = ", ".join(option.names)
        if len(option.names) == 1 and option.names[0].startswith("--"):
            names = "    " + names
        lines += _entry(f"{names} {option.metavar}" if option.metavar else names, option.help, 24)
    return lines


def _entry(name: str, text: str, room: int) -> list[str]:
    first, *rest = _wrap(text, " " * (room + 4))
    head = f"  {name}"
    if len(head) > room + 2:
        return [head, first, *rest]
    return [f"{head:<{room + 4}}{first.strip()}", *rest]


def _wrap(text: str, indent: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
