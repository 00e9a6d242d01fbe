"""Budgets: no phase begins once one is used up. A run without a known price counts as free."""

from __future__ import annotations

from paneview.rules.workflow.model import Workflow

WARN_AT = 0.8


def left_usd(flow: Workflow) -> float | None:
    """Dollars that may still be spent; None: there is no limit."""
    budget = flow.plan.budget_usd
    return None if budget is None else max(0.0, budget - flow.spent.cost_usd)


def exhausted(flow: Workflow) -> str:
    """Which budget is used up, in words; empty if none is."""
    spent, plan = flow.spent, flow.plan
    if plan.budget_usd is not None and spent.cost_usd >= plan.budget_usd:
        return f"budget: ${spent.cost_usd:.2f} of ${plan.budget_usd:.2f} is spent"
    if plan.budget_tokens is not None and spent.tokens >= plan.budget_tokens:
        return f"budget: {spent.tokens} of {plan.budget_tokens} tokens are spent"
    return ""


def nearly(flow: Workflow) -> bool:
    """Whether so much is spent that a person should be told."""
    spent, plan = flow.spent, flow.plan
    return (plan.budget_usd is not None and spent.cost_usd >= WARN_AT * plan.budget_usd) or (
        plan.budget_tokens is not None and spent.tokens >= WARN_AT * plan.budget_tokens
    )
