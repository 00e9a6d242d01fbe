"""The source of process rows on this system."""

from __future__ import annotations

import sys

from paneview.proc.row import Backend

if sys.platform == "linux":
    from paneview.proc.linux import LinuxBackend as _Backend
else:
    from paneview.proc.portable import PortableBackend as _Backend

backend: Backend = _Backend()


def keep_spare() -> None:
    """Make process look-ups work even when no descriptor is left. For callers that act on a process being gone."""
    backend.keep_spare()
