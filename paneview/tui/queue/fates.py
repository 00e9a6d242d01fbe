"""Actions on jobs: retry, cancel, purge; with a question first if something would be lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from paneview.control.errors import ControlError
from paneview.control.queuemodel import JobView
from paneview.tui.queue.words import job_age, job_look
from paneview.tui.text import clean, cut
from paneview.tui.words import plural

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp

MOST_LINES = 6  # jobs listed in a question
WORDS = 40  # cells of what a job is about


class Fate(NamedTuple):
    """An action on jobs: the request, the words for it, the states it applies to, and its effects."""

    do: str
    name: str
    past: str
    states: tuple[str, ...]
    only: str
    effects: tuple[str, ...] = ()


FATES = {
    "retry": Fate("job_retry", "retry", "queued again", ("dead",), "only dead letters can be retried"),
    "cancel": Fate(
        "job_cancel",
        "cancel",
        "cancelled",
        ("queued", "delayed", "blocked", "leased"),
        "it is over",
        (
            "One that runs is told to end; what it has done already stays done.",
            "Jobs that wait for it are cancelled, too.",
        ),
    ),
    "purge": Fate(
        "job_purge",
        "purge",
        "purged",
        ("dead",),
        "only dead letters can be purged; 'paneview queue clean' forgets what is done",
        ("Payload and errors are forgotten for good.",),
    ),
}


def warn(app: PaneviewApp, fate: Fate, jobs: Sequence[JobView], go_on: Callable[[], object]) -> None:
    """Call ``go_on``; if something would be lost, ask first, with the effects and No as default."""
    if not fate.effects:
        go_on()
        return
    from paneview.tui.screens.dialogs import confirm

    now = app.picture.clock()
    what = f"{jobs[0].kind} {jobs[0].id}" if len(jobs) == 1 else f"{len(jobs)} jobs"
    lines = [
        f"{clean(job.kind)} for {clean(job.target)}, {job_look(job).word} {job_age(job, now)}"
        + (f": {cut(clean(job.what), WORDS)}" if job.what else "")
        for job in jobs[:MOST_LINES]
    ]
    if len(jobs) > MOST_LINES:
        lines.append(f"and {len(jobs) - MOST_LINES} more")
    dialog = confirm(f"{fate.name.capitalize()} {clean(what)}?", [*lines, *fate.effects], fate.name)

    def answered(answer: str | None) -> None:
        if answer == "y":
            go_on()

    app.push_screen(dialog, answered)


async def settle(app: PaneviewApp, fate: Fate, ids: Sequence[str]) -> None:
    """Send the request, and report the outcome."""
    try:
        reply = await app.link.call(fate.do, jobs=list(ids))
    except ControlError as error:
        done = sum(bool(result.get("ok")) for result in error.extra.get("results", ()))
        others = f"; {plural(done, 'other job')} {fate.past}" if done else ""
        app.tell(f"{fate.name}: {clean(error.message)}{others}", failed=True)
        return
    running = sum(result.get("action") == "requested" for result in reply.get("results", ()))
    words = f"{len(ids)} jobs" if len(ids) != 1 else ids[0]
    whose = "its worker has ended it" if running == 1 else "their workers have ended them"
    some = f"; {running} of them" if running < len(ids) else ""
    app.tell(f"{words} {fate.past}" + (f"{some} once {whose}" if running else ""))
