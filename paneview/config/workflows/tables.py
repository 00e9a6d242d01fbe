"""``[workflows.NAME]`` and its ``[[workflows.NAME.phases]]``: what the file may say, and the plans that follow.

A phase without ``needs`` comes after the one above it; one with ``needs = []`` begins at once. The workflow ``default``
needs no table: `defaults/` defines it, and a table of that name takes its place.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from paneview.config.fields import STAND_IN, Model, NotBlank, NotEmpty, Positive, TaskName
from paneview.config.nesting import DEEPEST, is_too_deep
from paneview.config.reading import load_json, read_text
from paneview.config.workflows.expression import ExpressionError, parse
from paneview.config.workflows.plans import PhasePlan, Plan
from paneview.config.workflows.resultschema import mistakes
from paneview.config.workflows.roles import Agents
from paneview.config.workflows.templates import ASKED, placeholders, unknown

if TYPE_CHECKING:
    from paneview.config.resolve import Context
    from paneview.config.validate import Path

DEFAULTS = FilePath(__file__).parent / "defaults"
DEFAULT = "default"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class PhaseTable(Model, frozen=True, kw_only=True):
    """One phase of a workflow: a job for a worker of a role."""

    name: TaskName
    """What it is called in prompts, conditions and on the screen."""
    role: NotBlank
    """The role whose workers do it."""
    prompt: NotBlank | None = None
    """What the agent is told. {{task}}, {{diff}}, {{results}} and, of a phase before it, {{NAME.text}} or {{NAME.data}}
    are filled in, fenced as data."""
    prompt_file: NotBlank | None = None
    """A file with the prompt, relative to this file's folder."""
    needs: list[NotBlank] | None = None
    """The phases that must be done before. Default: the one above; []: it begins at once, beside others."""
    output: Literal["text", "json"] = "text"
    """What its agent has to return."""
    output_schema: dict[str, Any] | NotEmpty | None = None
    """With output = "json": the JSON Schema that its result must fit, or a file that holds it."""
    when: NotBlank | None = None
    """Run it only if this holds of earlier results, such as: work.lines >= 20 or review.data.new"""
    verify: NotBlank | None = None
    """Shell command, run where the agent worked, whose exit code decides whether the phase is done."""
    verify_timeout: Positive = 600.0
    """Seconds that `verify` may take."""
    retries: Annotated[int, Meta(ge=0, le=100)] = 0
    """Further runs after a failure; each resumes the agent's session and is told how the last one failed."""
    approve: Literal["never", "always", "on_risk"] = "never"
    """Whether a person must say yes before it begins; on_risk: if its role may do anything, or a phase before it was
    refused something or says `"risk": "high"` in its JSON."""
    timeout: Positive | None = None
    """Seconds that a run may take. Default: the runner's."""


class WorkflowTable(Model, frozen=True, kw_only=True):
    """What `paneview ask` does: phases, each done by an agent."""

    description: str = ""
    """What it is for, shown where one is chosen."""
    isolation: Literal["none", "worktree"] = "none"
    """none: agents work where they were asked; worktree: in a git worktree of its own, on the branch
    paneview/WORKFLOW."""
    budget_usd: Positive | None = None
    """No further step begins once its runs have cost this many dollars."""
    budget_tokens: Annotated[int, Meta(gt=0)] | None = None
    """The same in tokens."""
    timeout: Positive | None = None
    """Seconds for the whole, without the time in which it waits for a person."""
    setup: NotBlank | None = None
    """Shell command, run in a new worktree before the first phase."""
    copy_files: list[NotBlank] = []
    """Files and folders that git does not know, to be copied into a new worktree, such as .env."""
    ports: list[NotBlank] = []
    """Environment variables that get a free port each, as long as the workflow lives; for `setup`, `verify` and
    agents."""
    phases: list[PhaseTable] = []
    """What is done."""


def resolve_workflows(
    context: Context, tables: Mapping[str, WorkflowTable], agents: Agents
) -> dict[str, Plan]:
    """The plans of the tables, and the default one."""
    plans = {name: _Resolver(context, ("workflows", name), context.root, agents).plan(table, name)
             for name, table in tables.items()}  # fmt: skip
    if DEFAULT not in plans:
        plans[DEFAULT] = _default(context, agents)
    return plans


def _default(context: Context, agents: Agents) -> Plan:
    return _Resolver(context, ("workflows", DEFAULT), DEFAULTS, agents).plan(default_table(), DEFAULT)


@cache
def default_table() -> WorkflowTable:
    """The workflow ``default`` as it is without a table."""
    data = tomllib.loads((DEFAULTS / "workflow.toml").read_text())
    return msgspec.convert(data["workflows"][DEFAULT], WorkflowTable)


class _Resolver:
    """Turns one table into a plan; ``root`` is the folder that its files are in."""

    def __init__(self, context: Context, path: Path, root: FilePath, agents: Agents) -> None:
        self._context = context
        self._path = path
        self._root = root
        self._agents = agents
        self._names: list[str] = []

    def plan(self, table: WorkflowTable, name: str) -> Plan:
        """The plan; each phase comes after those it needs."""
        self._check_place(table)
        self._names = [phase.name for phase in table.phases]
        if not table.phases and not self._context.has_complaints(self._path):
            hint = f"[[workflows.{name}.phases]] adds one; 'paneview workflow eject' writes an example"
            self._complain((), f"workflow {name!r} has no phases", hint, at_key=True)
        order = self._order(table.phases)
        made = {place: self._phase(place, phase, order) for place, phase in enumerate(table.phases)}
        return Plan(
            name=name,
            phases=tuple(made[place] for place in order.places),
            isolation=table.isolation,
            budget_usd=table.budget_usd,
            budget_tokens=table.budget_tokens,
            timeout=table.timeout,
            setup=table.setup or "",
            copy=tuple(table.copy_files),
            ports=tuple(table.ports),
            description=table.description,
        )

    def _complain(self, path: Path, message: str, hint: str | None = None, *, at_key: bool = False) -> None:
        self._context.complain((*self._path, *path), message, hint, at_key=at_key)

    def _check_place(self, table: WorkflowTable) -> None:
        for key in ("setup", "copy_files", "ports"):
            if getattr(table, key) and table.isolation != "worktree":
                self._complain(
                    (key,), f"{key} is of no use without a worktree", 'isolation = "worktree"', at_key=True
                )
        for number, name in enumerate(table.copy_files):
            if name.startswith("/") or ".." in FilePath(name).parts:
                self._complain(("copy_files", number), f"{name!r} is not below the project's folder")
        for number, name in enumerate(table.ports):
            if not _VARIABLE.fullmatch(name):
                self._complain(("ports", number), f"{name!r} can't be the name of an environment variable")

    def _order(self, phases: list[PhaseTable]) -> _Order:
        names: dict[str, int] = {}
        for place, phase in enumerate(phases):
            if phase.name in names and not (
                phase.name == STAND_IN and self._context.has_complaints(self._path)
            ):
                self._complain(("phases", place, "name"), f"there are two phases called {phase.name!r}")
            names.setdefault(phase.name, place)
        needs: dict[int, list[int]] = {}
        for place, phase in enumerate(phases):
            needs[place] = [place - 1] if phase.needs is None and place else []
            for number, name in enumerate(phase.needs or ()):
                if name in names and name != phase.name:
                    needs[place].append(names[name])
                else:
                    what = "itself" if name == phase.name else f"{name!r}, which is not one"
                    self._complain(("phases", place, "needs", number), f"phase {phase.name!r} needs {what}")
        try:
            sorter = TopologicalSorter(needs)
            places = tuple(sorter.static_order())
        except CycleError as error:
            ring = " → ".join(phases[place].name for place in error.args[1])
            self._complain(
                ("phases", error.args[1][0], "needs"), f"phases need each other in a circle: {ring}"
            )
            return _Order({place: [] for place in needs}, tuple(needs))
        return _Order(needs, places)

    def _phase(self, place: int, table: PhaseTable, order: _Order) -> PhasePlan:
        path: Path = ("phases", place)
        role = self._agents.role(table.role)
        before = {self._name(number) for number in order.before(place)}
        self._check_when(path, table, before)
        prompt = self._prompt(path, table)
        for word in placeholders(prompt):
            if wrong := unknown(word, before):
                self._complain((*path, "prompt" if table.prompt else "prompt_file"), wrong)
        return PhasePlan(
            name=table.name,
            role=table.role,
            prompt=prompt,
            needs=tuple(self._name(number) for number in order.needs[place]),
            output=table.output,
            schema=self._schema(path, table),
            when=table.when or "",
            verify=table.verify or "",
            verify_timeout=table.verify_timeout,
            retries=table.retries,
            approve=table.approve,
            timeout=table.timeout,
            edits=role.permissions != "read",
            dangerous=role.permissions == "full",
            hosts=role.hosts,
        )

    def _name(self, place: int) -> str:
        return self._names[place]

    def _check_when(self, path: Path, table: PhaseTable, before: set[str]) -> None:
        if table.when is None:
            return
        try:
            found = parse(table.when)
        except ExpressionError as error:
            self._complain((*path, "when"), f"when {table.when!r}: {error} (character {error.position + 1})")
            return
        for name, wanted in dict.fromkeys(tuple((*word.split("."), "")[:2]) for word in found.paths):
            if name not in before:
                hint = f"before it come {', '.join(sorted(before))}" if before else "it is the first"
                self._complain((*path, "when"), f"when: {name!r} is not a phase before {table.name!r}", hint)
            elif wanted not in ASKED:
                hint = f"a phase has {', '.join(ASKED)}"
                self._complain(
                    (*path, "when"), f"when: {f'{name}.{wanted}'.rstrip('.')!r} says nothing", hint
                )

    def _prompt(self, path: Path, table: PhaseTable) -> str:
        if (table.prompt is None) == (table.prompt_file is None):
            which = "neither prompt nor" if table.prompt is None else "both prompt and"
            if not self._context.has_complaints(self._path) or table.prompt is not None:
                self._complain(path, f"phase {table.name!r} has {which} prompt_file", at_key=True)
            return table.prompt or ""
        return table.prompt or self._file((*path, "prompt_file"), table.prompt_file or "")

    def _schema(self, path: Path, table: PhaseTable) -> Any:
        given = table.output_schema
        if given is None:
            return None
        path = (*path, "output_schema")
        if table.output != "json":
            self._complain(path, "output_schema is of no use with text", 'output = "json"', at_key=True)
        if not isinstance(given, str):
            self._check_schema(path, "output_schema", given)
            return given
        text = self._file(path, given)
        try:
            schema = load_json(text) if text else {}
        except ValueError as error:
            self._complain(path, f"{given}: is not JSON: {error}")
            return {}
        if not isinstance(schema, dict):
            self._complain(path, f"{given}: a JSON Schema is an object")
            return {}
        if is_too_deep(schema):
            self._complain(path, f"{given}: it is nested more than {DEEPEST} deep")
            return {}
        self._check_schema(path, given, schema)
        return schema

    def _check_schema(self, path: Path, name: str, schema: dict[str, Any]) -> None:
        try:
            json.dumps(schema, allow_nan=False)
        except (TypeError, ValueError) as error:  # a date or nan, as TOML has them
            self._complain(path, f"{name}: is not JSON: {error}")
        for where, what in mistakes(schema):
            place = ".".join(map(str, where))
            self._complain((*path, *where), f"{name}: {place} must be {what}")

    def _file(self, path: Path, name: str) -> str:
        try:
            return read_text(self._root / name)
        except UnicodeDecodeError:
            reason = "is not UTF-8 text"
        except OSError as error:
            reason = error.strerror or str(error)
        self._complain(path, f"{path[-1]} {name!r}: {reason}")
        return ""


class _Order:
    """Which phase needs which, by their places in the file, and an order in which all can be done."""

    def __init__(self, needs: Mapping[int, list[int]], places: tuple[int, ...]) -> None:
        self.needs = needs
        self.places = places

    def before(self, place: int) -> set[int]:
        """All phases that this one needs, directly or not."""
        found: set[int] = set()
        wanted = list(self.needs[place])
        while wanted:
            one = wanted.pop()
            if one not in found:
                found.add(one)
                wanted += self.needs[one]
        return found
