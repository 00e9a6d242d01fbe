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
    """Tokens that agents have read and written."""

    input: int
    output: int
    cached: int
    total: int


class Spent(Shape):
    """What all runs of a phase or a workflow have used."""

    tokens: Tokens
    cost_usd: float | None
    """Cost of the runs whose price is known; null if none is."""
    unpriced: int
    """Runs whose price nobody knows."""
    turns: int
    agent_seconds: float


class RoleSpent(Spent):
    """What a role has used, in one workflow or in all of a list."""

    runs: int


class Run(Spent):
    """One run of a phase."""

    attempt: int
    outcome: str
    """ok, failed, timeout, stalled, no_result, rate_limited, auth, budget, limit, needs_permission, cancelled, lost."""


class Phase(Spent):
    """How far a phase has come."""

    name: str
    role: str
    needs: list[str]
    status: PhaseStatus
    reason: str
    """Why it has this status: why it was skipped, what it waits for, how it failed."""
    attempt: int
    """Number of its last run."""
    runs: int
    """Runs since it last began from the start."""
    retries_left: int
    job: str | None
    """Job of the last run."""
    queued_at: float | None
    started_at: float | None
    ended_at: float | None
    not_before: float | None
    """When it goes on after a rate limit."""
    lines: int | None
    """Lines changed by its last run; null: not counted."""
    files: int | None
    waits_for_person: bool
    question: str
    """What its agent has asked a person; 'workflow approve --answer' answers it."""


class WholePhase(Phase):
    """A phase with its results."""

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
    """Its runs, the oldest first."""


class _Flow(Spent):
    id: str
    workflow: str
    """Name of its definition."""
    task: str
    """What was asked; in lists only its beginning."""
    status: Status
    active: bool
    """Whether it is not over yet."""
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
    """A workflow with all its results."""

    phases: list[WholePhase]
    roles: dict[str, RoleSpent]
    place: dict[str, Any]
    due: list[str]


class EitherPhase(Phase):
    """A phase; with its results if one whole workflow is shown."""

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
    """A workflow in short or, with `show`, with all its results."""

    phases: list[EitherPhase]
    roles: dict[str, RoleSpent] | None = None
    place: dict[str, Any] | None = None
    due: list[str] | None = None


class PhaseResult(Shape):
    """The result of a phase."""

    name: str
    status: PhaseStatus
    reason: str
    text: str
    data: Any


class FlowResult(Spent):
    """The result of a workflow."""

    id: str
    status: Status
    reason: str
    phase: str | None
    """The phase that text and data are from."""
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
    """Roles for which no worker is alive."""
    result: FlowResult | None = None


class Flows(Success):
    """`workflows`."""

    workflows: list[Flow]
    count: int
    total: int
    active: int
    waiting: int
    roles: dict[str, RoleSpent]
    """What each role has used in all workflows that match, not only in those listed."""


class FlowStatus(Success):
    """`workflow-status`."""

    workflow: WholeFlow


class FlowCommand(Success):
    """`workflow`: which keys there are depends on the sub-command."""

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
    """The command that attaches to the session."""


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
