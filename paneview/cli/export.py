"""``export``: events and output of a span of time, in one stream, for review by people or programs.

Records are written as they are read, so their number does not matter. Masking the secrets needs the configuration: a
file with mistakes is an error, so that no secret gets out.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from paneview.cli import place
from paneview.cli.errors import UsageError
from paneview.cli.output import clean, print_json
from paneview.cli.times import optional_when
from paneview.config import paths
from paneview.config.load import load_project
from paneview.config.secrets import Masker
from paneview.store.export import Form, Selection
from paneview.store.export import export as records
from paneview.store.reader import LogReader
from paneview.store.snapshot import Span
from paneview.store.state_reader import SyncStateReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paneview.cli.parser import Call


def export(call: Call) -> int:
    """Write the records to standard output, or to a file."""
    since = optional_when(call.text("since"), "--since")
    until = optional_when(call.text("until"), "--until")
    span = Span(float("-inf") if since is None else since, float("inf") if until is None else until)
    form = _form(call)
    here = place.find(call)
    project = load_project(Path(here.file), os.environ)
    masker = Masker(project.secret_patterns, project.secret_values)
    target = call.text("output")
    with ExitStack() as stack:
        lines = _records(stack, here, Selection(span), form, masker) if here.folder else iter(())
        if target is None:
            for line in lines:
                sys.stdout.write(line + "\n")
            return 0
        file = stack.enter_context(open(target, "w", encoding="utf-8", errors="replace"))
        count = 0
        for line in lines:
            file.write(line + "\n")
            count += 1
    if call.json:
        print_json({"ok": True, "file": os.path.abspath(target), "format": form, "records": count})
    else:
        print(f"{clean(target)}: {count} record{'' if count == 1 else 's'}")
    return 0


def _form(call: Call) -> Form:
    given = call.text("format") or "jsonl"
    if given == "jsonl":
        return "jsonl"
    if given == "text":
        if call.json and not call.text("output"):
            raise UsageError("--json and --format text contradict each other without --output")
        return "text"
    raise UsageError(f"there is no format {given!r}", "there are jsonl and text")


def _records(
    stack: ExitStack, here: place.Place, selection: Selection, form: Form, masker: Masker
) -> Iterator[str]:
    folder = Path(here.folder or "")
    logs = stack.enter_context(LogReader(paths.logs_db(folder), paths.spool_dir(folder)))
    state = None
    if paths.state_db(folder).exists():
        state = stack.enter_context(SyncStateReader(paths.state_db(folder)))
    return records(state, logs, selection, form=form, masker=masker)
