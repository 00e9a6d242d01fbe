"""Taking a project down while others start, change and stop its tasks: nothing outlives it, and no reply is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from paneview.control.errors import ControlError
from paneview.rules.states import Stop, TaskPhase, TaskState
from paneview.supervisor.tasks.supervisor import Supervisor
from tests.harness import wait_until
from tests.supervisor.project import Project, Reply

# The run ends at the signal; its stop lasts until there is a file "go".
SLOW = """
    [tasks.slow]
    command = "exec sleep 611"
    hooks.after_stop = "until test -e go; do sleep 0.1; done"
"""
# The stop is refused as soon as there is a file "go".
REFUSES = """
    [tasks.slow]
    command = "exec sleep 611"
    hooks.before_stop = "until test -e go; do sleep 0.1; done; exit 1"
"""
MORE = """
    [tasks.byhand]
    command = "exec sleep 612"
    auto_start = false
    [tasks.many]
    command = "exec sleep 613"
    auto_start = false
    replicas = 2
"""
NEW = """
    [tasks.new]
    command = "exec sleep 614"
"""

Ask = Callable[..., "Future[Reply]"]


@pytest.fixture
def beside() -> Iterator[Callable[[Project], Ask]]:
    """Makes requests to a project in parallel."""
    pool, projects = ThreadPoolExecutor(4), []

    def make(project: Project) -> Ask:
        projects.append(project)

        def ask(do: str, **args: Any) -> Future[Reply]:
            return pool.submit(project.call, do, **args)

        return ask

    yield make
    for project in projects:
        project.close()  # this also ends requests that would never be answered
    pool.shutdown()


def go(p: Project) -> None:
    """Let everything that waits go on."""
    (p.folder / "go").touch()


def test_nothing_starts_while_the_project_goes_down(project, beside):
    p = project(SLOW + MORE).serve()
    p.wait("slow", "running")
    down = beside(p)("down")
    p.wait("slow", "stopping")
    p.write(SLOW + MORE + NEW)
    asked: list[tuple[str, Reply]] = [
        ("start", {"tasks": ["byhand"]}),
        ("start", {}),
        ("restart", {"tasks": ["byhand"]}),
        ("scale", {"task": "many", "replicas": 3}),
        ("reload", {}),
    ]
    for do, args in asked:
        with pytest.raises(ControlError, match="the project is going down") as error:
            p.call(do, **args)
        assert error.value.code == "going_down"
    go(p)
    assert down.result(20)["tasks"] == ["slow"]
    assert p.process.wait(20) == 0


def test_a_change_under_way_starts_nothing_in_a_project_that_goes_down(project, beside):
    """Regression: the reload went on after `down` had stopped everything, and what it started was left behind."""
    p = project(SLOW + MORE).serve()
    p.wait("slow", "running")
    p.call("start", tasks=["byhand"])
    p.write(NEW)
    ask = beside(p)
    reload = ask("reload")
    p.wait("slow", "stopping")
    down = ask("down")
    p.wait("byhand", "stopped")
    go(p)
    with pytest.raises(ControlError, match="the project is going down"):
        reload.result(20)
    down.result(20)
    assert p.process.wait(20) == 0
    p.serve()
    assert p.wait("new", "running")["run"] == 3


def test_a_change_under_way_goes_on_when_the_down_that_came_between_is_refused(project, beside):
    going = """
        [tasks.going]
        command = "exec sleep 615"
        hooks.after_stop = "until test -e gone; do sleep 0.1; done"
    """
    kept = '[tasks.kept]\ncommand = "exec sleep {}"\n'
    p = project(REFUSES + going + kept.format(616)).serve()
    p.wait("going", "running")
    p.wait("slow", "running")
    p.write(REFUSES + NEW + kept.format(617))  # the supervisor notices this by itself
    p.wait("going", "stopping")
    down = beside(p)("down")
    p.wait("slow", "stopping")
    (p.folder / "gone").touch()
    wait_until(lambda: p.events("config_reloaded"))
    assert p.task("new")["state"] == "idle"
    go(p)
    with pytest.raises(ControlError, match="a stop was refused"):
        down.result(20)
    p.wait("new", "running")
    p.call("kill", tasks=["slow"])


def test_a_down_that_is_refused_lets_starts_in_again(project, beside):
    p = project(REFUSES + MORE).serve()
    p.wait("slow", "running")
    down = beside(p)("down")
    p.wait("slow", "stopping")
    p.write(REFUSES + MORE + NEW)
    with pytest.raises(ControlError, match="the project is going down"):
        p.call("start", tasks=["byhand"])
    go(p)
    with pytest.raises(ControlError, match="a stop was refused"):
        down.result(20)
    p.wait_for_task("new")  # the change of the file has waited
    p.wait("new", "running")
    assert p.call("start", tasks=["byhand"])["results"][0]["ok"]
    p.call("kill", tasks=["slow"])


class Unit:
    """The parts of a unit and its services that a stop uses: it ends at once, and ``then`` is called."""

    def __init__(self, phase: TaskPhase, then: Callable[[], None] = lambda: None) -> None:
        self.state = TaskState(phase=phase)
        self.then = then
        self.depends_on: tuple[str, ...] = ()
        self.task = self.strays = self

    def feed(self, event: Stop) -> None:
        if self.state.phase.active:
            self.state = TaskState(phase=TaskPhase.STOPPED, reason=event.by)
            self.then()

    async def until(self, _settled: object) -> TaskState:
        return self.state

    async def gone(self) -> None: ...


async def test_what_runs_again_against_all_expectation_is_stopped_again():
    late = Unit(TaskPhase.IDLE)

    def slip_in() -> None:
        late.state = TaskState(phase=TaskPhase.RUNNING)

    first = Unit(TaskPhase.RUNNING, slip_in)
    late.name, first.name = "late", "first"
    supervisor = Supervisor(None, first)
    supervisor.units = {"first": first, "late": late}  # the last is stopped first
    supervisor._gate.follow(supervisor.units)
    assert await supervisor.down("me") == {}
    assert late.state == first.state == TaskState(phase=TaskPhase.STOPPED, reason="me")
    assert supervisor.going_down, "it is about to end"


HELD = "hooks.after_stop = 'until test -e {}; do sleep 0.1; done'"
FIRST = f"""
    [tasks.a]
    command = "exec sleep 615"
    {HELD.format("a.go")}
    [tasks.b]
    command = "exec sleep 616"
    depends_on = ["a"]
    {HELD.format("go")}
"""
WITHOUT = f"""
    [tasks.b]
    command = "exec sleep 616"
    {HELD.format("go")}
"""


def test_what_leaves_the_file_while_it_is_to_stop_is_stopped(project, beside):
    p = project(FIRST).serve()
    ask = beside(p)

    def leaves_while(do: str, **args: Any) -> Reply:
        p.wait("b", "running")
        p.write(WITHOUT)
        reload = ask("reload")
        p.wait("a", "stopping")
        stop = ask(do, **args)
        p.wait("b", "stopping")
        (p.folder / "a.go").touch()
        assert reload.result(20)["removed"] == ["a"]
        go(p)
        return stop.result(20)

    reply = leaves_while("stop", tasks=["a", "b"])
    assert [one["ok"] for one in reply["results"]] == [True, True]
    assert p.task("b")["state"] == "stopped"

    (p.folder / "a.go").unlink()
    (p.folder / "go").unlink()
    p.write(FIRST)
    p.call("reload")
    p.call("start")
    assert not leaves_while("down").get("results")
    assert p.process.wait(20) == 0


STARTS_LATE = """
    [tasks.late]
    command = "exec sleep 617"
    auto_start = false
    hooks.before_start = "until test -e go; do sleep 0.1; done"
"""


def failure(asked: Future[Reply]) -> Reply:
    """The only result of a request that failed."""
    with pytest.raises(ControlError) as error:
        asked.result(20)
    assert error.value.code == "failed"
    (result,) = error.value.extra["results"]
    return result


def test_a_start_or_restart_that_a_stop_or_the_end_of_the_project_overtakes_has_failed(project, beside):
    p = project(STARTS_LATE + SLOW).serve()
    run = p.wait("slow", "running")["run"]
    ask = beside(p)

    # A start of what is stopped before it has run
    for do, done in (("stop", "stopped"), ("kill", "killed")):
        start = ask("start", tasks=["late"])
        p.wait("late", "starting")
        stop = ask(do, tasks=["late"])
        p.wait("late", "stopped")
        assert stop.result(20)["results"][0]["ok"]
        (event,) = p.events(f"task_{done}", "late")
        told = failure(start)
        assert (told["ok"], told["action"], told["task"]) == (False, "started", "late")
        assert told["error"] == f"it was stopped meanwhile, by {event['cause'].partition(' by ')[2]}"
        assert p.task("late")["run"] is None

    # A restart of what is stopped before it has run again
    restart = ask("restart", tasks=["slow"])
    p.wait("slow", "stopping")
    stop = ask("stop", tasks=["slow"])
    p.wait("slow", lambda slow: slow["manual_stop"])
    go(p)
    assert "it was stopped meanwhile, by " in failure(restart)["error"]
    assert stop.result(20)["results"][0]["ok"]
    assert (p.task("slow")["state"], p.task("slow")["run"]) == ("stopped", run)
    (p.folder / "go").unlink()

    # A start that the end of the project overtakes
    p.call("start", tasks=["slow"])
    start = ask("start", tasks=["late"])
    p.wait("late", "starting")
    down = ask("down")
    assert "it was stopped meanwhile, by " in failure(start)["error"]
    go(p)
    down.result(20)


def test_what_ran_was_started_however_soon_it_was_stopped_or_done(project, beside):
    p = project("""
        [tasks.once]
        command = "true"
        restart_policy = "no"
        auto_start = false
        [tasks.brief]
        command = "exec sleep 618"
        auto_start = false
        [tasks.late]
        command = "exec sleep 619"
        auto_start = false
        hooks.before_start = "until test -e go; do sleep 0.1; done"
        """).serve()
    start = beside(p)("start", tasks=["once", "brief", "late"])
    p.wait("brief", "running")
    p.wait("once", "done")
    p.call("stop", tasks=["brief"])
    go(p)
    assert [one["ok"] for one in start.result(20)["results"]] == [True, True, True]
