"""A timer for one moment always rings, also late.

Textual passes over the turns of a timer that come too late. Of one that has a single turn nothing is left then: if the
machine keeps this program from its work for the few milliseconds of such a timer, just as it begins, it never rings,
and who waits for it waits for ever. Textual's own for a change of the window's size is one of these: the screen would
keep the old size until it is left (seen once in some hundred runs of the tests, on a busy machine; Textual 8.2).
"""

from __future__ import annotations

from textual.timer import Timer

_run = Timer._run


async def _run_to_the_end(timer: Timer) -> None:
    if timer._repeat == 0:
        timer._skip = False
    await _run(timer)


def never_skip_the_only_turn() -> None:
    """From now on, in this process, for all timers that are set for one moment."""
    Timer._run = _run_to_the_end  # type: ignore[method-assign, assignment]
