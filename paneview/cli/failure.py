"""Errors of the packages below, as messages and exit statuses for the person who typed the command."""

from __future__ import annotations

import os
import sys

from paneview.cli.errors import FAILED, NO_SUPERVISOR, USAGE, CliError
from paneview.config import locate
from paneview.config.errors import ConfigError
from paneview.control.errors import ControlError, NoSupervisor

_ELSEWHERE = (
    ("paneview.tmux.errors", "TmuxError", "tmux", FAILED),
    ("paneview.store.database", "StoreError", "store", FAILED),
    ("paneview.patterns", "PatternError", "pattern", USAGE),
    ("paneview.broker.errors", "BadJobError", "queue", USAGE),
    ("paneview.broker.errors", "BadUrlError", "queue", USAGE),
    ("paneview.broker.errors", "BrokerError", "queue", FAILED),
    ("paneview.worker.handlers", "HandlerError", "handlers", FAILED),
)


def explain(error: Exception) -> CliError | None:
    """The message and exit status for an expected error; None for a defect, which keeps its trace."""
    if isinstance(error, NoSupervisor):
        return CliError(str(error), NO_SUPERVISOR, "'paneview start' starts one", code="no_supervisor")
    if isinstance(error, ConfigError):
        problems = [problem.as_json() for problem in error.problems]
        return CliError(str(error), USAGE, code="config", problems=problems)
    if isinstance(error, ControlError):
        status = USAGE if error.code in {"config", "bad_request", "unknown_request"} else FAILED
        return CliError(error.message, status, code=error.code, **error.extra)
    for module, name, code, status in _ELSEWHERE:
        loaded = sys.modules.get(module)  # not loaded: the error cannot be one of its own
        if loaded is not None and isinstance(error, getattr(loaded, name)):
            return CliError(str(error), status, code=code)
    return _of_the_system(error)


def _of_the_system(error: Exception) -> CliError | None:
    if isinstance(error, UnicodeEncodeError) and not error.object[error.start : error.end].isprintable():
        # Bytes of an argument or a file name that are not UTF-8, as surrogates; our own texts hold none.
        wrong = error.object[error.start : error.end]
        return CliError(f"what was given is not UTF-8 text: {wrong!r}", USAGE, code="bad_request")
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        if error.filename is None and _is_nowhere():
            gone = os.environ.get("PWD", "")
            hint = "go to another one, or to the new one of that name"
            return CliError(
                f"the current folder no longer exists: {gone}".rstrip(": "), hint=hint, code="system"
            )
        place = f"{error.filename}: " if error.filename else ""
        elsewhere = "state is kept there: PANEVIEW_HOME names another folder" if _is_home(error) else None
        return CliError(f"{place}{error.strerror or error}", hint=elsewhere, code="system")
    return None


def _is_home(error: OSError) -> bool:
    """Whether a part of the way to the folder of all state, or something in it, is what the system refused."""
    refused, home = error.filename, locate.state_home()
    if not (isinstance(refused, str) and os.path.isabs(refused) and os.path.isabs(home)):
        return False
    return os.path.commonpath([refused, home]) in (refused, home)


def _is_nowhere() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False
