"""The dependency graph: its order, what a start brings along, what holds a task back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paneview.rules import graph
from paneview.rules.restart import Exit
from paneview.rules.states import TaskPhase, TaskState

IDLE = TaskState()
RUNNING = TaskState(phase=TaskPhase.RUNNING)
READY = TaskState(phase=TaskPhase.RUNNING, ready=True)
DONE = TaskState(phase=TaskPhase.DONE, exit=Exit(0))
FAILED = TaskState(phase=TaskPhase.FAILED, exit=Exit(1), reason="exit code 1")


@st.composite
def graphs(draw: st.DrawFn) -> graph.Graph:
    """Acyclic graphs: a task depends only on tasks with smaller numbers."""
    size = draw(st.integers(1, 12))
    conditions = st.sampled_from(["started", "healthy", "completed"])
    return {
        f"t{n}": tuple(
            (f"t{other}", draw(conditions)) for other in range(n) if draw(st.booleans())
        )
        for n in reversed(range(size))
    }  # fmt: skip


@given(graphs())
def test_order_puts_dependencies_first(needs):
    order = graph.order(needs)
    assert sorted(order) == sorted(needs)
    place = {name: number for number, name in enumerate(order)}
    assert all(place[other] < place[name] for name, others in needs.items() for other, _ in others)


def needed(names, needs):
    """The names and all that they depend on."""
    return set(names).union(*(needed([other for other, _ in needs[name]], needs) for name in names))


@given(graphs(), st.data())
def test_a_start_pulls_in_exactly_what_is_missing(needs, data):
    choices = st.sampled_from([IDLE, RUNNING, READY, DONE, FAILED])
    states = {name: data.draw(choices) for name in needs}
    asked = data.draw(st.lists(st.sampled_from(sorted(needs)), max_size=3))
    started = graph.also_started(asked, needs, states)
    assert set(asked) <= set(started) <= needed(asked, needs)
    for name in started:
        for other, condition in needs[name]:
            covered = other in started or states[other].phase.active
            assert covered or graph.satisfied(states[other], condition)


def test_an_edit_brings_along_what_is_missing_but_for_what_a_person_keeps_stopped():
    needs: graph.Graph = {
        "app": (("db", "healthy"), ("cache", "healthy")), "db": (("disk", "started"),), "disk": (), "cache": ()
    }  # fmt: skip
    kept = TaskState(phase=TaskPhase.STOPPED, manual_stop=True)
    quarantined = TaskState(phase=TaskPhase.FAILED, quarantined=True)
    backoff = TaskState(phase=TaskPhase.BACKOFF, attempt=1)
    for db, cache, along in (
        (IDLE, IDLE, {"db", "disk", "cache"}),
        (FAILED, READY, {"db", "disk"}),
        (kept, FAILED, {"cache"}),
        (quarantined, FAILED, {"cache"}),
        (TaskState(manual_stop=True), RUNNING, set()),
        (backoff, DONE, set()),
    ):
        states = {"app": IDLE, "disk": IDLE, "db": db, "cache": cache}
        assert set(graph.brought_along(["app"], needs, states)) == along


def test_conditions():
    for state, started, healthy, completed in (
        (IDLE, False, False, False),
        (RUNNING, True, False, False),
        (READY, True, True, False),
        (DONE, True, True, True),
        (FAILED, False, False, False),
    ):
        expected = {"started": started, "healthy": healthy, "completed": completed}
        for condition, holds in expected.items():
            assert graph.satisfied(state, condition) is holds  # type: ignore[arg-type]


def test_what_holds_a_task_back_is_told_in_words():
    needs: graph.Graph = {"db": (), "prep": (), "api": (("db", "healthy"), ("prep", "completed"))}
    held = graph.unmet("api", needs, {"db": RUNNING, "prep": FAILED, "api": IDLE})
    assert [(one.task, one.why) for one in held] == [("db", "is not ready"), ("prep", "failed (exit code 1)")]
    assert not graph.unmet("api", needs, {"db": READY, "prep": DONE, "api": IDLE})
    assert graph.dependents(needs)["db"] == {"api"}
