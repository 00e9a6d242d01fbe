"""``init``: write a configuration file for a project that has none, and tell the AI agents that work in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paneview.cli.errors import CliError
from paneview.cli.output import Cell, Column, clean, print_json, print_table
from paneview.config import locate
from paneview.config.editing import agents
from paneview.config.editing.draft import draft
from paneview.config.editing.edit import replace_file
from paneview.config.editing.offers import Found, Offer, find_offers
from paneview.config.load import parse_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paneview.cli.parser import Call

_COLUMNS = (
    Column("TASK"),
    Column("COMMAND", flex=True),
    Column("FROM", drop=1),
    Column("SUGGESTED", drop=2),
)


def init(call: Call) -> int:
    """Write what is missing: the configuration file, and the block in each file that agents read."""
    file = Path(os.path.abspath(call.text("file") or locate.FILE_NAMES[0]))
    kept = _existing(file)
    found = Found(()) if kept else find_offers(file.parent)
    chosen: Sequence[Offer] = ()
    if kept is None:
        ask = sys.stdin.isatty() and sys.stdout.isatty() and not (call.flag("defaults") or call.json)
        chosen = _ask(found.offers) if ask else [offer for offer in found.offers if offer.suggested]
        _create(file, chosen)
    told = [_tell_agents(file.parent / name, (kept or file).name) for name in agents.FILES]
    taskmux = [name for name in agents.TASKMUX_FILES if _tells_of_taskmux(file.parent / name)]
    if call.json:
        print_json({**_as_json(kept or file, kept is not None, found, chosen, told), "taskmux": taskmux})
    else:
        _print(kept or file, kept is not None, found, chosen, told)
        for name in taskmux:
            print(
                f"take it out: {name} still tells agents to use taskmux, which would start everything twice"
            )
    return 0


def _existing(file: Path) -> Path | None:
    """A configuration file that exists already: this one, or one beside it, such as a taskmux.toml it would hide."""
    places = (file, *(file.with_name(name) for name in locate.FILE_NAMES))
    return next((place for place in places if os.path.lexists(place)), None)


def _ask(offers: Sequence[Offer]) -> list[Offer]:
    """Let a person choose. Raises CliError if they would rather not."""
    chosen: list[Offer] = []
    if offers:
        print("This project has:\n")
        print_table(_COLUMNS, [_row(offer) for offer in offers])
        print("\nWhich are tasks? y yes, n no, d as suggested from here on, q write nothing\n")
    as_suggested = False
    for offer in offers:
        answer = "" if as_suggested else _answer(offer)
        as_suggested = as_suggested or answer == "d"
        if answer == "y" or (answer in {"", "d"} and offer.suggested):
            chosen.append(offer)
    return chosen


def _row(offer: Offer) -> list[Cell]:
    suggested = Cell("yes", "green") if offer.suggested else Cell("no", "dim")
    return [Cell(offer.name, "bold"), Cell(offer.command), Cell(offer.source, "dim"), suggested]


def _answer(offer: Offer) -> str:
    question = f"{clean(offer.name)}: {clean(offer.command)} [{'Y/n' if offer.suggested else 'y/N'}/d/q] "
    while True:
        try:
            answer = input(question).strip().lower()[:1]
        except EOFError:
            answer = "q"
            print()
        if answer == "q":
            raise CliError("nothing was written")
        if answer in {"", "y", "n", "d"}:
            return answer


def _create(file: Path, offers: Sequence[Offer]) -> None:
    """Create the file. Raises ConfigError if it would not load; OSError, also if it exists by now."""
    content = draft(file, offers).encode()
    parse_project(content, file, os.environ)
    _write_new(file, content)


def _write_new(path: Path, content: bytes) -> None:
    """Create a file with this content, or none: half a one would be kept the next time. Raises OSError."""
    with path.open("xb") as new:
        try:
            new.write(content)
            new.flush()
        except OSError:
            path.unlink()
            raise


def _tell_agents(path: Path, file_name: str) -> dict[str, Any]:
    """Write or update the block in `path`. Links are followed, so that two names of one file get one block."""
    target = Path(os.path.realpath(path))
    try:
        before = target.read_bytes() if target.exists() else None
        after = agents.with_block(before or b"", file_name)
        if before is None:
            _write_new(target, after)
        elif after != before:
            replace_file(target, after)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return {"file": path.name, "action": "skipped", "reason": reason or str(error)}
    action = "created" if before is None else "unchanged" if after == before else "updated"
    return {"file": path.name, "action": action, "reason": None}


def _tells_of_taskmux(path: Path) -> bool:
    try:
        return agents.TASKMUX_BEGIN in path.read_bytes()
    except OSError:  # there is none, or it has been reported as skipped
        return False


def _as_json(
    file: Path, kept: bool, found: Found, chosen: Sequence[Offer], told: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "ok": True,
        "action": "kept" if kept else "created",
        "file": str(file),
        "tasks": [offer.name for offer in chosen],
        "offers": [
            {key: getattr(offer, key) for key in ("name", "command", "source", "suggested")}
            for offer in found.offers
        ],
        "notes": list(found.notes),
        "agents": told,
    }


def _print(file: Path, kept: bool, found: Found, chosen: Sequence[Offer], told: list[dict[str, Any]]) -> None:
    for note in found.notes:
        print(f"not looked into: {clean(note)}")
    if kept:
        print(f"kept: {clean(file)}")
    else:
        names = ", ".join(clean(offer.name) for offer in chosen)
        print(f"created: {clean(file)} ({names or 'no task yet; it holds an example'})")
    for one in told:
        print(f"{one['action']}: {one['file']}" + (f" ({clean(one['reason'])})" if one["reason"] else ""))
    if not kept:
        print("next: look through the file, then 'paneview' starts it")
