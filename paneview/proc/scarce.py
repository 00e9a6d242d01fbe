"""Errors that mean a shortage of resources, and say nothing about the object of the call."""

from __future__ import annotations

import errno

SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN})
"""Error numbers: no descriptor, process, memory or buffer is left, in this process or the whole machine."""
