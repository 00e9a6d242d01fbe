"""The screen of dependencies."""

from __future__ import annotations

from paneview.control.model import TaskView
from paneview.tui.tasks.tree import branches
from tests.harness import eventually
from tests.tui.running import running, text
from tests.tui.scenes import shop


def tree(needs: dict[str, tuple[str, ...]], *folded: tuple[str, ...]) -> list[str]:
    tasks = {name: TaskView(name, depends_on=others) for name, others in needs.items()}
    return [f"{one.lines}{one.name}{' *' if one.again else ''}" for one in branches(tasks, folded)]


def test_the_tree_draws_a_task_once_and_marks_it_where_it_comes_again() -> None:
    needs = {"db": (), "api": ("db", "cache"), "cache": (), "web": ("api",), "job": ("api",), "alone": ()}
    assert tree(needs) == ["web", "└─ api", "   ├─ db", "   └─ cache", "job", "└─ api *", "alone"]
    assert tree(needs, ("web",)) == ["web", "job", "└─ api", "   ├─ db", "   └─ cache", "alone"]
    assert tree(needs, ("web", "api"), ("job", "api")) == ["web", "└─ api", "job", "└─ api", "alone"]


def test_nothing_goes_missing_in_a_cycle_or_with_unknown_names() -> None:
    assert tree({"a": ("b",), "b": ("a",)}) == ["a", "└─ b", "   └─ a *"]
    assert tree({"a": ("ghost",)}) == ["a", "└─ ghost"]


async def test_dependencies_with_their_states() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("6")
        await pilot.pause()
        shown = text(pilot, "#graph")
        assert "▾ mailer" in shown
        assert "└─ ▾ web" in shown
        assert "▲ unhealthy" in shown
        assert " graph " in text(pilot, "#header")
        await pilot.press("g", "h")
        await eventually(lambda: "▸ worker" in text(pilot, "#graph"))
        assert "db" not in text(pilot, "#graph").split("mailer")[0]
        await pilot.press("l", "j", "r")
        await eventually(lambda: supervisor.requests("restart") == [{"tasks": ["db"]}])
        supervisor.change("web", health="healthy", ready=True)
        await eventually(lambda: "unhealthy" not in text(pilot, "#graph"))
        await pilot.press("z")
        await eventually(lambda: "└─" not in text(pilot, "#graph"))
        await pilot.press("z", "slash", *"^db", "enter")
        await eventually(lambda: "mailer" not in text(pilot, "#graph"))
        await pilot.press("escape", "enter")
        await eventually(lambda: " logs " in text(pilot, "#header"))
