"""Loading the modules of a command."""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def load(name: str) -> ModuleType:
    """The module of this name, imported without looking for garbage meanwhile.

    Nothing that is loaded is ever garbage, and collecting costs a tenth of the time that loading takes.
    """
    if name in sys.modules:
        return sys.modules[name]
    from importlib import import_module  # noqa: PLC0415 - only where something is loaded

    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()  # or the next collection would go through all of it
        gc.enable()
