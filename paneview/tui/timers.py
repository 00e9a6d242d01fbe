"""One-shot timers that always fire, even late.

Textual skips the ticks of a timer that are overdue. A one-shot timer has no other tick: if the machine keeps this
program from running for the few milliseconds of such a timer, just as it starts, it never fires, and what waits for it
waits for ever. Textual's own timer for a change of the window's size is one of these: the screen would keep the old
size until it is left (seen once in some hundred runs of the tests, on a busy machine; Textual 8.2).
"""

from __future__ import annotations

from textual.timer import Timer

_run = Timer._run


async def _run_to_the_end(timer: Timer) -> None:
    if timer._repeat == 0:
        timer._skip = False
    await _run(timer)


def never_skip_the_only_turn() -> None:
    """Patch Textual accordingly, for all one-shot timers of this process."""
    Timer._run = _run_to_the_end  # type: ignore[method-assign, assignment]
