"""What the commands of workflows print with ``--json``; see `shapes`."""

from __future__ import annotations

from typing import Any, Literal

from paneview.cli.shape import Shape, Success

Status = Literal["preparing", "running", "waiting", "cancelling", "closing", "done", "failed", "cancelled"]
PhaseStatus = Literal[
    "pending", "skipped", "waiting_approval", "queued", "running", "verifying", "waiting_person", "done", "failed",
    "cancelled",
]  # fmt: skip


class Tokens(Shape):
    """What agents have read and written."""

    input: int
    output: int
    cached: int
    total: int


class Spent(Shape):
    """Of a phase or a workflow, all its runs."""

    tokens: Tokens
    cost_usd: float | None
    """Of the runs whose price is known; null: of none."""
    unpriced: int
    """Runs whose price nobody knows."""
    turns: int
    agent_seconds: float


class RoleSpent(Spent):
    """Of a role, in one workflow or all of a list."""

    runs: int


class Run(Spent):
    """One run of a phase."""

    attempt: int
    outcome: str
    """ok, failed, timeout, stalled, no_result, rate_limited, auth, budget, limit, needs_permission, cancelled, lost."""


class Phase(Spent):
    """How far a phase is."""

    name: str
    role: str
    needs: list[str]
    status: PhaseStatus
    reason: str
    """Why it is where it is: why it was skipped, what it waits for, how it failed."""
    attempt: int
    """Number of its last run."""
    runs: int
    """Runs since it was begun from the start."""
    retries_left: int
    job: str | None
    """Of the last run."""
    queued_at: float | None
    started_at: float | None
    ended_at: float | None
    not_before: float | None
    """When a run that was limited goes on."""
    lines: int | None
    """Changed by its last run; null: not counted."""
    files: int | None
    waits_for_person: bool


class WholePhase(Phase):
    """The same with what it has brought."""

    text: str
    data: Any
    error: str
    outcome: str
    session: str | None
    denials: list[str]
    verify: str | None
    verify_code: int | None
    when: str | None
    approve: Literal["never", "always", "on_risk"]
    history: list[Run]
    """Its runs, the last one last."""


class _Flow(Spent):
    id: str
    workflow: str
    """Its definition's name."""
    task: str
    """What was asked; in lists only its beginning."""
    status: Status
    active: bool
    """It is not over."""
    waits_for_person: bool
    reason: str
    created_at: float
    ended_at: float | None
    by: str
    home: str
    """The host and project that advance it."""
    cwd: str
    isolation: Literal["none", "worktree"]
    branch: str | None
    conflicts: list[dict[str, Any]]
    """Branches of other workflows that change the same places: workflow, branch, files."""
    kept: str | None
    """Which worktree was kept, and why."""
    budget_usd: float | None
    budget_tokens: int | None
    budget_warned: bool


class Flow(_Flow):
    """A workflow in short."""

    phases: list[Phase]


class WholeFlow(_Flow):
    """A workflow with all that it has brought."""

    phases: list[WholePhase]
    roles: dict[str, RoleSpent]
    place: dict[str, Any]
    due: list[str]


class EitherPhase(Phase):
    """A phase, of a whole workflow with what it has brought."""

    text: str = ""
    data: Any = None
    error: str = ""
    outcome: str = ""
    session: str | None = None
    denials: list[str] | None = None
    verify: str | None = None
    verify_code: int | None = None
    when: str | None = None
    approve: Literal["never", "always", "on_risk"] = "never"
    history: list[Run] | None = None


class EitherFlow(_Flow):
    """A workflow in short or, with `show`, with all that it has brought."""

    phases: list[EitherPhase]
    roles: dict[str, RoleSpent] | None = None
    place: dict[str, Any] | None = None
    due: list[str] | None = None


class PhaseResult(Shape):
    """What a phase has brought."""

    name: str
    status: PhaseStatus
    reason: str
    text: str
    data: Any


class FlowResult(Spent):
    """What came of a workflow."""

    id: str
    status: Status
    reason: str
    phase: str | None
    """Whose text and data these are."""
    text: str
    data: Any
    branch: str | None
    commit: str | None
    kept: str | None
    """Why its worktree was not removed."""
    phases: list[PhaseResult]


class Change(Shape):
    """What a workflow has changed."""

    id: str
    diff: str
    lines: int
    files: int
    base: str


class Pane(Shape):
    """A pane of `workflow-setup`."""

    pane: str
    pid: int
    title: str


class Asked(Success):
    """`ask`: with --no-wait the workflow, else its result."""

    workflow: Flow | None = None
    without_worker: list[str] | None = None
    """Roles that nobody works for now."""
    result: FlowResult | None = None


class Flows(Success):
    """`workflows`."""

    workflows: list[Flow]
    count: int
    total: int
    active: int
    waiting: int
    roles: dict[str, RoleSpent]
    """What each role has used, in all that were asked for, not only those listed."""


class FlowStatus(Success):
    """`workflow-status`."""

    workflow: WholeFlow


class FlowCommand(Success):
    """`workflow`: what its sub-command tells."""

    workflows: list[Flow] | None = None
    count: int | None = None
    total: int | None = None
    active: int | None = None
    waiting: int | None = None
    roles: dict[str, RoleSpent] | None = None
    workflow: EitherFlow | None = None
    result: FlowResult | None = None
    change: Change | None = None
    file: str | None = None
    """With eject: the configuration file."""
    written: list[str] | None = None


class Setup(Success):
    """`workflow-setup`."""

    session: str
    created: bool
    panes: list[Pane]
    command: list[str]
    """How to go there."""


class Teardown(Success):
    """`workflow-teardown`."""

    session: str
    ended: list[str]


WORKFLOW_SHAPES: dict[str, type[Shape]] = {
    "ask": Asked,
    "workflow": FlowCommand,
    "workflows": Flows,
    "workflow-status": FlowStatus,
    "workflow-setup": Setup,
    "workflow-teardown": Teardown,
}
