"""The commands of workflows and their options; see `verbs`."""

from __future__ import annotations

from paneview.cli.parser import Option, Verb

_ACTIVE = Option("--active", None, "only those that have not ended")
_COUNT = Option("-n --count", "N", "at most N (default 20)")

WORKFLOW_VERBS = (
    Verb(
        "ask",
        "ask:ask",
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
        "workflow:workflow",
        "Look at workflows, decide, resume, or copy the built-in one.",
        words="list | status | result | diff | watch | cancel | retry | approve | reject | resume | eject [ID [PHASE]]",
        most=None,
        options=(
            _ACTIVE,
            _COUNT,
            Option("--why", "TEXT", "with reject and cancel: the reason"),
            Option("--from", "PHASE", "with retry: this phase again, and all that depends on it"),
            Option("--budget", "USD", "with resume: the new budget"),
            Option("--tokens", "N", "with resume: the new budget in tokens"),
        ),
        complete="list status result cancel retry approve reject resume diff watch eject",
        example="paneview workflow status default-1a2b3c4d",
    ),
    Verb(
        "workflows",
        "workflow:workflows",
        "Show workflows, the newest first.",
        options=(_ACTIVE, _COUNT),
        example="paneview workflows --active",
    ),
    Verb(
        "workflow-status",
        "workflow:workflow_status",
        "Show how a workflow is doing: the same as 'workflow status'.",
        words="ID",
        least=1,
        most=1,
        example="paneview workflow-status default-1a2b3c4d --json",
    ),
    Verb(
        "workflow-setup",
        "workflowsetup:workflow_setup",
        "Open a tmux session with a worker for each role, and go there.",
        options=(
            Option("--session", "NAME", "its name (default: PROJECT-workflow)"),
            Option("--no-attach", None, "only start it"),
        ),
        example="paneview workflow-setup --no-attach",
    ),
    Verb(
        "workflow-teardown",
        "workflowsetup:workflow_teardown",
        "End that session, its workers and their agents.",
        words="[SESSION]",
        most=1,
        example="paneview workflow-teardown",
    ),
)
