"""The dependencies of a project as a tree: at the top what nothing else needs, below each task what it needs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from paneview.control.model import TaskView


class Branch(NamedTuple):
    """One line of the tree. ``path`` distinguishes it from other lines of the same task."""

    path: tuple[str, ...]
    lines: str  # what connects it to the line above
    foldable: bool
    again: bool  # shown in full further up

    @property
    def name(self) -> str:
        """The task that this row shows."""
        return self.path[-1]


def branches(tasks: Mapping[str, TaskView], folded: Collection[tuple[str, ...]]) -> list[Branch]:
    """All lines that are not folded away."""
    needed = {name for task in tasks.values() for name in task.depends_on}
    roots = [name for name in tasks if name not in needed]
    seen: set[str] = set()
    found: list[Branch] = []
    for root in roots:
        found += _below(root, (), "", "", tasks, folded, seen)
    # A file with a cycle is refused, but a supervisor of another version may send one: no task may go missing.
    for name in tasks:
        if (
            name not in seen
            and name not in {branch.name for branch in found}
            and not _hidden(name, tasks, folded)
        ):
            found += _below(name, (), "", "", tasks, folded, seen)
    return found


def _below(
    name: str,
    above: tuple[str, ...],
    lines: str,
    indent: str,
    tasks: Mapping[str, TaskView],
    folded: Collection[tuple[str, ...]],
    seen: set[str],
) -> Iterator[Branch]:
    path = (*above, name)
    task = tasks.get(name)
    needs = task.depends_on if task is not None else ()
    again = bool(needs) and name in seen
    yield Branch(path, lines, bool(needs) and not again, again)
    if again or path in folded or name in above:
        return
    seen.add(name)
    for at, other in enumerate(needs):
        last = at == len(needs) - 1
        corner, further = ("└─ ", "   ") if last else ("├─ ", "│  ")
        yield from _below(other, path, indent + corner, indent + further, tasks, folded, seen)


def _hidden(name: str, tasks: Mapping[str, TaskView], folded: Collection[tuple[str, ...]]) -> bool:
    """Whether the task is only hidden below something that is folded."""
    wanted = {path[-1] for path in folded}
    reached: set[str] = set()
    while wanted:
        reached |= wanted
        wanted = {need for other in wanted if other in tasks for need in tasks[other].depends_on} - reached
    return name in reached
