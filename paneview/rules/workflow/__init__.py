"""Workflows as a state machine: what a workflow is, what can happen to it, and what is then to be done."""

from __future__ import annotations

from paneview.config.workflows.plans import PhasePlan, Plan
from paneview.rules.workflow.model import (
    OVER,
    WAITING,
    WORKING,
    Phase,
    PhaseStatus,
    Spent,
    Status,
    Workflow,
    begin,
)
from paneview.rules.workflow.step import due, step, wake_at

__all__ = [
    "OVER",
    "WAITING",
    "WORKING",
    "Phase",
    "PhasePlan",
    "PhaseStatus",
    "Plan",
    "Spent",
    "Status",
    "Workflow",
    "begin",
    "due",
    "step",
    "wake_at",
]
