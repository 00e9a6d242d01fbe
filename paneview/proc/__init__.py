"""Operating-system processes: identity, trees, signals and exits. No tmux and no policy here.

A process is identified by its pid *and* its start time (`ProcessId`), because the kernel reuses pids: every
function here that acts on a process checks that it is still the same one. On Linux everything comes from
``/proc`` and pidfds; elsewhere the same functions use psutil.

Code that needs an event loop is loaded on first use: an agent's shim needs none, and asyncio would be nearly half of
all that it loads.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from paneview.proc.backend import keep_spare
from paneview.proc.ids import (
    ProcessId,
    boot_id,
    command_line,
    identify,
    is_alive,
    is_anyone_in,
    pid_space,
    started_at,
)
from paneview.proc.sample import Sampler, Usage
from paneview.proc.scarce import SCARCE
from paneview.proc.signals import interrupt, send
from paneview.proc.table import AGENT, MARKER, ProcessTable, marker

if TYPE_CHECKING:
    from paneview.proc.gone import kill_until_gone, wait_gone
    from paneview.proc.watch import ExitWatch

__all__ = [
    "AGENT",
    "MARKER",
    "SCARCE",
    "ExitWatch",
    "ProcessId",
    "ProcessTable",
    "Sampler",
    "Usage",
    "boot_id",
    "command_line",
    "identify",
    "interrupt",
    "is_alive",
    "is_anyone_in",
    "keep_spare",
    "kill_until_gone",
    "marker",
    "pid_space",
    "send",
    "started_at",
    "wait_gone",
]

_LATER = {"ExitWatch": "watch", "kill_until_gone": "gone", "wait_gone": "gone"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
