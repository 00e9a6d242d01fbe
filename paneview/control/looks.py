"""How the states of workflows and phases are shown: a glyph of one cell, and its colour's role. Imports nothing.

The command line prints these, and the screen draws them.
"""

from __future__ import annotations

FLOWS = {
    "preparing": ("◐", "attention"),
    "running": ("●", "ok"),
    "waiting": ("◆", "attention"),
    "cancelling": ("◑", "attention"),
    "closing": ("◐", "attention"),
    "done": ("✓", "ok"),
    "failed": ("✗", "failed"),
    "cancelled": ("■", "dim"),
}
PHASES = {
    "pending": ("○", "dim"),
    "skipped": ("\u2013", "dim"),
    "waiting_approval": ("◆", "attention"),
    "queued": ("◔", "attention"),
    "running": ("●", "ok"),
    "verifying": ("◐", "ok"),
    "waiting_person": ("◆", "attention"),
    "done": ("✓", "ok"),
    "failed": ("✗", "failed"),
    "cancelled": ("■", "dim"),
}
