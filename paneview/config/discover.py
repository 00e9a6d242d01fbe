"""Which configuration file is meant when none is named.

`locate` is the same for the command line's fast path.
"""

from __future__ import annotations

import os
from pathlib import Path

from paneview.config import locate
from paneview.config.errors import ConfigError, Problem


def find_file(start: Path) -> Path:
    """The nearest ``paneview.toml``, or ``taskmux.toml`` beside which there is none, in `start` or a parent
    of it.

    The path is absolute, and a symbolic link is not followed: the folder it stands in is the project's.
    Raises ConfigError when there is none up to the file system's root.
    """
    if found := locate.find_file(os.fspath(start)):
        return Path(found)
    message = f"no paneview.toml or taskmux.toml in {os.path.abspath(start)} or a folder above it"
    raise ConfigError(Problem(None, None, None, message, "'paneview init' writes one"))
