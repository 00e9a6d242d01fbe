"""Operating-system processes: identity, trees, signals and exits. Knows neither tmux nor any policy.

A process is named by its id *and* its start time (`ProcessId`), since the kernel hands ids out again: every
function here that acts on a process checks that it is still the same one. On Linux everything comes from
``/proc`` and pidfds; elsewhere psutil answers behind the same functions.
"""

from paneview.proc.ids import ProcessId, boot_id, identify, is_alive, started_at
from paneview.proc.sample import Sampler, Usage
from paneview.proc.signals import interrupt, kill_until_gone, send, wait_gone
from paneview.proc.table import AGENT, MARKER, ProcessTable, marker
from paneview.proc.watch import ExitWatch

__all__ = [
    "AGENT",
    "MARKER",
    "ExitWatch",
    "ProcessId",
    "ProcessTable",
    "Sampler",
    "Usage",
    "boot_id",
    "identify",
    "interrupt",
    "is_alive",
    "kill_until_gone",
    "marker",
    "send",
    "started_at",
    "wait_gone",
]
