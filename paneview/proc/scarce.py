"""The errors that say that this machine is short of something, and nothing about what was asked for."""

from __future__ import annotations

import errno

SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN})
"""Error numbers: no descriptor, process, memory or buffer is left, here or in the whole machine."""
