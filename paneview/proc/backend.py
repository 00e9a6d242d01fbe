"""The source of rows for this system."""

from __future__ import annotations

import sys

from paneview.proc.row import Backend

if sys.platform == "linux":
    from paneview.proc.linux import LinuxBackend as _Backend
else:
    from paneview.proc.portable import PortableBackend as _Backend

backend: Backend = _Backend()


def keep_spare() -> None:
    """Have looks at processes work also when no descriptor is left. For whoever acts on a process's being gone."""
    backend.keep_spare()
