"""``status``, ``health`` and ``inspect``. ``status --json`` is the fast path.

Nothing heavy is imported for it.
"""

from __future__ import annotations

from paneview.cli import place
from paneview.cli.errors import CliError
from paneview.cli.output import print_json, print_result
from paneview.control.errors import Disconnected, NoSupervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from paneview.cli.parser import Call


def _queue(file: str) -> dict[str, Any] | None:
    """The state of the project's queue, read here only while no supervisor runs; None: it has none."""
    from paneview.config.queue import find_queue  # noqa: PLC0415

    where = find_queue({}, file, make=False)
    if not where.in_use:
        return None
    from paneview.cli.queue.status import summary  # noqa: PLC0415 - only with a queue

    return summary(where)


def status(call: Call) -> int:
    """Show every task; from the store, with ``"running": false``, when no supervisor runs.

    Without a project, show the queue if the environment names one.
    """
    try:
        here = place.find(call)
    except CliError as error:
        from paneview.cli.queue.status import status_alone  # noqa: PLC0415 - only without a project

        return status_alone(call, error)
    try:
        if call.json:
            # The result is passed on as it came: decoding and encoding it would take longer than all the rest.
            print_result(here.ask_text("status"))
            return 0
        found = here.ask("status")
    except (NoSupervisor, Disconnected):  # Disconnected: it died as it was asked
        from paneview.cli.offline import stored_status  # noqa: PLC0415

        found = {**stored_status(here.file, here.folder), "queue": _queue(here.file)}
    if call.json:
        print_json({"ok": True, **found})
    else:
        from paneview.cli.people import print_status  # noqa: PLC0415

        print_status(call, found)
    return 0


def health(call: Call) -> int:
    """Show which tasks are healthy."""
    found = place.find(call).ask("health")
    if call.json:
        print_json({"ok": True, **found})
    else:
        from paneview.cli.people import print_health  # noqa: PLC0415

        print_health(found)
    return 0


def inspect(call: Call) -> int:
    """Show everything about one task."""
    found: dict[str, Any] = place.find(call).ask("inspect", {"task": call.words[0]})
    if call.json:
        print_json({"ok": True, **found})
    else:
        from paneview.cli.people import print_inspect  # noqa: PLC0415

        print_inspect(found)
    return 0
