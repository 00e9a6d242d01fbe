"""Actions on a workflow: approve, reject, retry, cancel, raise the budget.

What loses something asks first, with its effects and No as default. Success is not reported: the state shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from paneview.control.errors import ControlError
from paneview.control.flowmodel import FlowView, PhaseView, dollars
from paneview.tui.background import in_background
from paneview.tui.question import Question
from paneview.tui.text import clean, cut
from paneview.tui.workflows import words

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp
    from paneview.tui.screens.base import MainScreen

WORDS = 50  # cells of what was asked
DIGITS = 15  # most in a number of tokens


async def tell(app: PaneviewApp, do: str, flow: FlowView, **args: Any) -> None:
    """Send the request; show the new state at once, or a toast if it is refused."""
    try:
        reply = await app.link.call(do, id=flow.id, **args)
    except ControlError as error:
        app.tell(f"{do.removeprefix('workflow_')}: {clean(error.message)}", failed=True)
    else:
        app.picture.take_flow(reply["workflow"])


def waiting_phase(flow: FlowView, selected: PhaseView | None) -> PhaseView | None:
    """The selected phase if it waits, else the first one that does."""
    waiting = [phase for phase in flow.phases if phase.waits_for_person]
    chosen = [phase for phase in waiting if selected is not None and phase.name == selected.name]
    return next(iter(chosen or waiting), None)


async def approve(screen: MainScreen, flow: FlowView, selected: PhaseView | None) -> None:
    """Let a phase begin or go on, once its agent's question is answered; if the budget is spent, ask for a new one."""
    app = screen.pv
    if flow.over or not flow.waits_for_person:
        app.tell("approve: nothing in it waits for a person", failed=True)
    elif phase := waiting_phase(flow, selected):
        if phase.question:
            await _answer(screen, flow, phase)
        else:
            in_background(app, tell, app, "workflow_approve", flow, phase=phase.name)
    else:
        await _more_budget(screen, flow)


async def _answer(screen: MainScreen, flow: FlowView, phase: PhaseView) -> None:
    app = screen.pv

    def submit(text: str) -> None:
        in_background(app, tell, app, "workflow_approve", flow, phase=phase.name, answer=text.strip())

    hint = f"answer to {clean(phase.name)}; nothing: it decides itself · esc: not now"
    await screen.ask(Question("answer ", hint, submit))


async def _more_budget(screen: MainScreen, flow: FlowView) -> None:
    app = screen.pv
    most = flow.budget_tokens
    if flow.budget_usd is None or (most is not None and flow.usage.tokens >= most):
        await _more_tokens(screen, flow)
        return

    def submit(text: str) -> None:
        if (budget := dollars(text)) is None:
            app.tell(f"budget: {clean(cut(text, WORDS))!r} is not an amount in dollars", failed=True)
            return
        in_background(app, tell, app, "workflow_resume", flow, budget_usd=budget)

    hint = f"new budget in dollars, in all; ${flow.budget_usd:g} so far · esc: not now"
    await screen.ask(Question("$ ", hint, submit))


async def _more_tokens(screen: MainScreen, flow: FlowView) -> None:
    app = screen.pv

    def submit(text: str) -> None:
        number = text.strip()
        if not (number.isascii() and number.isdigit() and 0 < len(number) <= DIGITS and int(number)):
            app.tell(f"budget: {clean(cut(text, WORDS))!r} is not a number of tokens", failed=True)
            return
        in_background(app, tell, app, "workflow_resume", flow, budget_tokens=int(number))

    hint = f"new budget in tokens, in all; {flow.budget_tokens} so far · esc: not now"
    await screen.ask(Question("tokens ", hint, submit))


async def reject(screen: MainScreen, flow: FlowView, selected: PhaseView | None) -> None:
    """Reject the waiting phase; asks for the reason, which becomes part of the workflow."""
    app = screen.pv
    phase = waiting_phase(flow, selected)
    if flow.over or phase is None:
        app.tell("reject: no phase of it waits for a person", failed=True)
        return

    def submit(text: str) -> None:
        in_background(app, tell, app, "workflow_reject", flow, phase=phase.name, why=text.strip())

    await screen.ask(Question("why? ", f"why {clean(phase.name)} is rejected · esc: not now", submit))


def cancel(app: PaneviewApp, flow: FlowView) -> None:
    """Cancel the workflow; asks first."""
    if flow.over:
        app.tell(f"cancel: it is {flow.status}", failed=True)
        return
    running = [phase.name for phase in flow.phases if phase.status in ("running", "queued", "verifying")]
    lines = [_asked(flow)]
    if running:
        lines.append(f"Ends {', '.join(map(clean, running))}; what it has done already stays done.")
    if flow.branch:
        lines.append(f"What was changed stays on the branch {clean(flow.branch)}.")
    _confirm(app, "Cancel this workflow?", lines, "cancel", lambda: _go(app, "workflow_cancel", flow))


def retry(app: PaneviewApp, flow: FlowView, start: PhaseView | None = None) -> None:
    """Retry what failed or, after a question, everything from the phase ``start`` on."""
    if not flow.over:
        app.tell("retry: it is not over yet", failed=True)
    elif start is None:
        _go(app, "workflow_retry", flow)
    else:
        name = clean(start.name)
        lines = [_asked(flow), f"{name} and what follows from it are done again, and paid for again."]
        _confirm(
            app,
            f"Retry from {name}?",
            lines,
            "retry",
            lambda: _go(app, "workflow_retry", flow, phase=start.name),
        )


def _go(app: PaneviewApp, do: str, flow: FlowView, **args: Any) -> None:
    in_background(app, tell, app, do, flow, **args)


def _asked(flow: FlowView) -> str:
    return f"{clean(flow.workflow)}: {cut(words.asked(flow), WORDS)}"


def _confirm(app: PaneviewApp, title: str, lines: list[str], verb: str, go_on: Callable[[], None]) -> None:
    from paneview.tui.screens.dialogs import confirm

    app.push_screen(confirm(title, lines, verb), lambda answer: go_on() if answer == "y" else None)
