"""How long an agent's run may last, and how it is ended, over virtual time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paneview.rules import runs
from paneview.rules.runs import AGAIN, NEVER, PATIENCE, Limits, Watch

LIMITS = Limits(timeout=100.0, stall=10.0, linger=5.0)


def signals(watch: Watch, until: float) -> list[tuple[float, str]]:
    """The signals sent until this time, if `tick` is called only when it is due."""
    sent = []
    while (now := runs.due(watch)) <= until:
        watch, number = runs.tick(watch, now)
        if number:
            sent.append((now, number))
    return sent


def test_silence_ends_it_by_and_by() -> None:
    assert signals(runs.begin(LIMITS, 0.0), 12.3) == [
        (10.0, "INT"), (10.0 + PATIENCE, "TERM"), (10.0 + 2 * PATIENCE, "KILL"), (10.0 + 2 * PATIENCE + AGAIN, "KILL"),
    ]  # fmt: skip


def test_announced_silence_does_not_count() -> None:
    watch = runs.heard(runs.begin(LIMITS, 0.0), LIMITS, 5.0, patience=35.0)
    assert runs.due(watch) == 50.0
    assert runs.tick(watch, 49.0) == (watch, None)
    assert runs.tick(watch, 50.0)[0].why == "stalled"


def test_nothing_stalls_without_a_limit() -> None:
    limits = Limits(timeout=100.0, stall=0.0, linger=5.0)
    watch, number = runs.tick(runs.begin(limits, 0.0), 100.0)
    assert (watch.why, number) == ("timeout", "INT")


def test_after_its_last_word_it_may_linger_but_not_stay() -> None:
    watch = runs.concluded(runs.begin(LIMITS, 0.0), LIMITS, 1.0)
    assert runs.concluded(watch, LIMITS, 3.0) == watch
    assert runs.tick(watch, 5.9) == (watch, None)
    assert runs.tick(watch, 6.0)[0].why == "over"


def test_the_first_reason_counts() -> None:
    watch = runs.stop(runs.begin(LIMITS, 0.0), "cancelled", 1.0)
    assert runs.stop(watch, "budget", 2.0) == watch
    assert runs.tick(watch, 200.0)[0].why == "cancelled"


EVENTS = st.lists(
    st.tuples(st.floats(0.0, 30.0), st.sampled_from(["heard", "patient", "concluded", "stop", "tick"]))
)


@given(EVENTS)
def test_it_always_ends_and_never_early(events: list[tuple[float, str]]) -> None:
    now = heard = 0.0
    patience = 0.0
    watch = runs.begin(LIMITS, now)
    for wait, event in events:
        now += wait
        if watch.why:
            break
        match event:
            case "heard":
                watch, heard, patience = runs.heard(watch, LIMITS, now), now, 0.0
            case "patient":
                watch, heard, patience = runs.heard(watch, LIMITS, now, 20.0), now, 20.0
            case "concluded":
                watch = runs.concluded(watch, LIMITS, now)
            case "stop":
                watch = runs.stop(watch, "cancelled", now)
            case _:
                watch, number = runs.tick(watch, now)
                assert (number is not None) == bool(watch.why)
                if watch.why == "stalled":
                    assert now >= heard + patience + LIMITS.stall
                elif watch.why == "over":
                    assert now >= watch.gone_by or now >= LIMITS.timeout
                elif watch.why == "timeout":
                    assert now >= LIMITS.timeout
    sent = [number for _, number in signals(watch, now + LIMITS.timeout + 200)]
    assert sent[-1] == "KILL"
    assert runs.due(watch) < NEVER
