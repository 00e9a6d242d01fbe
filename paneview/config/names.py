"""Which names a task may have, and how long any may be. Not in `fields`: completion must not load msgspec for it."""

from __future__ import annotations

NAME_LENGTH = 64
# Letters, digits, _ and -: no dot (replicas are NAME.1 …), nothing tmux or a file name would stumble over,
# and not digits alone, which tmux takes for a window's index.
NAME_PATTERN = r"^([A-Za-z_]|[0-9]+[A-Za-z_-])[A-Za-z0-9_-]*$(?!\n)"
