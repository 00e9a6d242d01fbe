"""``[runners.NAME]`` and ``[roles.NAME]``: what the file may say, and what it means (`roles`).

`resolve_agents` is for `load_project`, which reads the whole file, and for `load_agents`: a worker has no use for the
file's tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from paneview.config.fields import Model, NotBlank, NotNegative, Positive
from paneview.config.workflows.roles import (
    DEFAULT_PERMISSIONS,
    DEFAULT_RUNNER,
    PRESETS,
    Agents,
    Role,
    Runner,
    built_in_roles,
    built_in_runners,
)

if TYPE_CHECKING:
    from paneview.config.resolve import Context
    from paneview.config.validate import Path

Preset = Literal["claude", "codex", "gemini", "opencode", "aider", "demo"]


class RunnerTable(Model, frozen=True, kw_only=True):
    """A way to run an agent program."""

    preset: Preset | None = None
    """Which agent program it is. Default: the runner's own name, if it is one of these and there is no `argv`."""
    argv: list[NotBlank] = []
    """With a preset: the program to start instead of the one on the PATH. Without: any program with all its
    arguments, which gets the prompt on standard input. No shell reads it."""
    parser: Literal["claude", "codex", "gemini", "opencode", "aider", "plain"] | None = None
    """How to read what a program without a preset prints. Default: plain, its last output is the result."""
    model: NotBlank | None = None
    """The model to ask for, as the program calls it. Default: the program's own."""
    args: list[NotBlank] = []
    """Further arguments for the program."""
    timeout: Positive = 3600.0
    """Seconds a run may take."""
    stall_timeout: NotNegative = 900.0
    """Seconds a run may say nothing before it is ended and, once, taken up again; 0: any time."""
    linger: NotNegative = 5.0
    """Seconds the program may go on after it gave its result; then it and all it has started are ended."""
    max_concurrent: Annotated[int, Meta(ge=0)] = 0
    """Runs at the same time, over all workers of the queue; 0: any number."""
    max_turns: Annotated[int, Meta(ge=0)] = 0
    """Turns an agent may take, where its program knows such a limit (claude); 0: no limit of ours."""
    env: dict[str, str] = {}
    """Environment variables of the program, on top of the worker's."""


class RoleTable(Model, frozen=True, kw_only=True):
    """What agents of a role may do."""

    runner: NotBlank | None = None
    """The runner that does its work. Default: the file's first, else claude."""
    permissions: Literal["read", "edit", "full"] | None = None
    """read: look, change nothing; edit: change files in its folder; full: anything, unasked, which also needs
    `dangerous = true`. Default: edit for worker and compounder, read for all others."""
    dangerous: bool = False
    """Say that you know what `full` means."""
    approvals: bool | None = None
    """Whether an agent may use a tool that it was denied, once a person has approved it in the workflow. Approvals come
    through the queue. Default: true if that is this host's own (sqlite:), else false."""
    hosts: list[NotBlank] = []
    """The hosts whose workers may take this role. Default: all."""


def resolve_agents(
    context: Context,
    runners: Mapping[str, RunnerTable],
    roles: Mapping[str, RoleTable],
    project_env: Mapping[str, str],
) -> Agents:
    """The runners and roles of the tables, with the built-in ones; complains about mistakes in them."""
    values = {**context.environ, **project_env}
    every = built_in_runners()
    every.update({name: _runner(context, name, table, values) for name, table in runners.items()})
    made = built_in_roles()
    for name, table in roles.items():
        made[name] = _role(context, name, table, values)
        if table.runner is not None:
            check_runner(context, ("roles", name, "runner"), made[name].runner, every)
    return Agents(every, made, next(iter(runners), DEFAULT_RUNNER))


def check_runner(context: Context, path: Path, name: str, runners: Mapping[str, Runner]) -> None:
    """Complain about a runner that does not exist."""
    from paneview.config.validate import nearest  # noqa: PLC0415 - it needs the models, which need this module

    if name not in runners and not context.unfinished(name):
        context.complain(path, f"{name!r} is not a runner", nearest(name, runners))


def _runner(context: Context, name: str, table: RunnerTable, values: Mapping[str, str]) -> Runner:
    from paneview.config.resolve import resolve_environment  # noqa: PLC0415 - as above

    path: Path = ("runners", name)
    preset = table.preset or (name if name in PRESETS and not table.argv else None)
    if preset is None and not table.argv and not context.has_complaints(path):
        hint = f"preset is one of {', '.join(PRESETS)}"
        context.complain(path, f"runner {name!r} has neither preset nor argv", hint, at_key=True)
    if table.parser is not None and preset is not None:
        message = f"parser beside preset {preset!r}, which has its own"
        context.complain((*path, "parser"), message, "argv without a preset may have one", at_key=True)

    def words(field: str) -> tuple[str, ...]:
        return tuple(context.text((*path, field), word, values) for word in getattr(table, field))

    return Runner(
        name=name,
        preset=preset or "",
        argv=words("argv"),
        parser=table.parser or {None: "plain", "demo": "claude"}.get(preset, preset or "plain"),
        model="" if table.model is None else context.text((*path, "model"), table.model, values),
        args=words("args"),
        env=resolve_environment(context, path, table.env, None, values),
        **{field: getattr(table, field) for field in _SAME},
    )


_SAME = ("timeout", "stall_timeout", "linger", "max_concurrent", "max_turns")


def _role(context: Context, name: str, table: RoleTable, values: Mapping[str, str]) -> Role:
    path: Path = ("roles", name)
    if table.permissions == "full" and not table.dangerous:
        message = 'permissions = "full" lets an agent do anything, unasked'
        context.complain((*path, "permissions"), message, "add dangerous = true if that is what you want")

    def text(field: str, value: str | None) -> str:
        return "" if value is None else context.text((*path, field), value, values)

    return Role(
        name=name,
        runner=text("runner", table.runner),
        permissions=table.permissions or DEFAULT_PERMISSIONS.get(name, "read"),
        approvals=table.approvals,
        hosts=tuple(text("hosts", host) for host in table.hosts),
    )
