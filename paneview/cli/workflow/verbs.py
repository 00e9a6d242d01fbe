"""The commands of workflows and their options; see `verbs`."""

from __future__ import annotations

from paneview.cli.parser import Option, Verb

_LISTED = (
    Option("--active", None, "only those that have not ended"),
    Option("-n --count", "N", "at most N (default 20)"),
)
_WHY = Option("--why", "TEXT", "the reason")
_ANSWER = Option("--answer", "TEXT", "what its agent is told, as to a question")
_EXAMPLE = "default-1a2b3c4d"


def _of_one(name: str, summary: str, *options: Option, phase: bool = False) -> Verb:
    """A sub-command on one workflow, or on one `phase` of it."""
    return Verb(
        f"workflow {name}",
        f"workflow.commands:{name}",
        summary,
        words="ID [PHASE]" if phase else "ID",
        least=1,
        most=2 if phase else 1,
        options=options,
        example=f"paneview workflow {name} {_EXAMPLE}{' plan' if phase else ''}",
    )


WORKFLOW_VERBS = (
    Verb(
        "ask",
        "workflow.ask:ask",
        "Have agents do what a sentence asks, phase by phase.",
        words="TEXT…",
        least=1,
        most=None,
        options=(
            Option("--wait", None, "wait for the end and print the result (the default)"),
            Option("--no-wait", None, "print the workflow's id and return"),
            Option("--timeout", "TIME", "how long to wait (default 600); the workflow goes on after that"),
            Option(
                "-d --directory --working-dir",
                "FOLDER",
                "where to work (default: this folder)",
                complete="file",
            ),
            Option("-v --verbose", None, "show more, and not only on a terminal"),
            Option("--workflow", "NAME", "which workflow of the file (default: default)"),
            Option("--budget", "USD", "begin no further step once it has cost this much"),
        ),
        example="paneview ask 'Fix the failing tests'",
    ),
    Verb(
        "workflow",
        "workflow.commands:listed",
        "Look at workflows, decide, resume, or copy the built-in one.",
        options=_LISTED,
        subs=(
            Verb(
                "workflow list",
                "workflow.commands:listed",
                "Show workflows, the newest first (what 'workflow' alone does).",
                options=_LISTED,
                example="paneview workflow list --active",
            ),
            _of_one("status", "Show a workflow phase by phase."),
            _of_one("result", "Print what came of a workflow that is over."),
            _of_one("diff", "Print what a workflow has changed."),
            Verb(
                "workflow watch",
                "workflow.commands:watch",
                "Tell every change until Ctrl-C, or until this workflow is over.",
                words="[ID]",
                most=1,
                example="paneview workflow watch",
            ),
            _of_one("cancel", "End a workflow and its agents.", _WHY),
            _of_one(
                "retry",
                "Do again what failed.",
                Option("--from", "PHASE", "this phase again, and all that depends on it"),
            ),
            _of_one("approve", "Let what waits for a person go on: one phase, or all.", _ANSWER, phase=True),
            _of_one("reject", "Let what waits for a person fail: one phase, or all.", _WHY, phase=True),
            _of_one(
                "resume",
                "Let a workflow that has stopped go on.",
                Option("--budget", "USD", "the new budget"),
                Option("--tokens", "N", "the new budget in tokens"),
            ),
            Verb(
                "workflow eject",
                "workflow.eject:eject",
                "Copy the built-in workflow into the project, to be changed there.",
                example="paneview workflow eject",
            ),
        ),
        example=f"paneview workflow status {_EXAMPLE}",
    ),
    Verb(
        "workflows",
        "workflow.commands:listed",
        "Show workflows, the newest first.",
        options=_LISTED,
        example="paneview workflows --active",
    ),
    Verb(
        "workflow-status",
        "workflow.commands:status",
        "Show how a workflow is doing: the same as 'workflow status'.",
        words="ID",
        least=1,
        most=1,
        example=f"paneview workflow-status {_EXAMPLE} --json",
    ),
    Verb(
        "workflow-setup",
        "workflow.setup:workflow_setup",
        "Open a tmux session with a worker for each role, and go there.",
        options=(
            Option("--session", "NAME", "its name (default: PROJECT-workflow)"),
            Option("--no-attach", None, "only start it"),
        ),
        example="paneview workflow-setup --no-attach",
    ),
    Verb(
        "workflow-teardown",
        "workflow.setup:workflow_teardown",
        "End that session, its workers and their agents.",
        words="[SESSION]",
        most=1,
        example="paneview workflow-teardown",
    ),
)
