"""Commands on workflows: ``:ask``, ``:approve ID`` and so on. Without an id they apply to the selected one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paneview.control.flowmodel import FlowView, PhaseView
from paneview.tui.background import in_background
from paneview.tui.screens.base import MainScreen
from paneview.tui.screens.flowbase import FlowKeys
from paneview.tui.text import clean
from paneview.tui.workflows import actions as flowactions
from paneview.tui.workflows.words import rank

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp

MOST = 50  # ids offered as completions of each command


def known(app: PaneviewApp) -> dict[str, list[str]]:
    """The ids for each kind of argument, the most urgent first."""
    flows = sorted(app.picture.flows.values(), key=rank)
    found = {
        "flow": flows,
        "flow-waiting": [flow for flow in flows if flow.waits_for_person and not flow.over],
        "flow-active": [flow for flow in flows if not flow.over],
        "flow-over": [flow for flow in flows if flow.status in ("failed", "cancelled")],
    }
    return {kind: [flow.id for flow in some[:MOST]] for kind, some in found.items()}


def ask(app: PaneviewApp, words: list[str]) -> None:
    """The ask prompt, with what was typed so far."""
    in_background(app, app.action_ask, " ".join(words))


def show(app: PaneviewApp, words: list[str]) -> None:
    """Show one workflow in the whole screen."""
    if (chosen := _chosen(app, words)) is not None:
        from paneview.tui.screens.workflow import WorkflowScreen

        app.show_flow(chosen[0].id)
        app.push_screen(WorkflowScreen(chosen[0].id))


def approve(app: PaneviewApp, words: list[str]) -> None:
    """Let the waiting phase begin."""
    screen = app.screen
    if isinstance(screen, MainScreen) and (chosen := _chosen(app, words)) is not None:
        in_background(screen, flowactions.approve, screen, *chosen)


def reject(app: PaneviewApp, words: list[str]) -> None:
    """Refuse the waiting phase; asks for the reason."""
    screen = app.screen
    if isinstance(screen, MainScreen) and (chosen := _chosen(app, words)) is not None:
        in_background(screen, flowactions.reject, screen, *chosen)


def retry(app: PaneviewApp, words: list[str]) -> None:
    """Retry what failed or, with a phase, all from there on."""
    if (chosen := _chosen(app, words)) is None:
        return
    flow, phase = chosen
    if len(words) > 1 and phase is None:
        names = ", ".join(clean(one.name) for one in flow.phases)
        app.tell(f"{clean(flow.id)} has no phase {clean(words[1])}; it has {names}", failed=True)
    else:
        flowactions.retry(app, flow, phase if len(words) > 1 else None)


def cancel(app: PaneviewApp, words: list[str]) -> None:
    """End a workflow, after a question."""
    if (chosen := _chosen(app, words)) is not None:
        flowactions.cancel(app, chosen[0])


def _chosen(app: PaneviewApp, words: list[str]) -> tuple[FlowView, PhaseView | None] | None:
    """The workflow that was named, else the selected one, and the phase."""
    screen = app.screen
    if not words:
        flow = screen.flow() if isinstance(screen, FlowKeys) else None
        if flow is not None and isinstance(screen, FlowKeys):
            return None if screen.aim.lost() else (flow, screen.phase())
        app.tell("which workflow? Its id follows the command", failed=True)
        return None
    flow = app.picture.flows.get(words[0])
    if flow is None:
        app.tell(f"there is no workflow {clean(words[0])}", failed=True)
        return None
    return flow, flow.phase(words[1]) if len(words) > 1 else None
