"""Which function does which kind of job."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from paneview.broker.model import Json
from paneview.worker.command import Command, Failure

GROUP = "paneview.handlers"
_KINDS = "__paneview_kinds__"

Handler = Callable[[Command], Json]
F = TypeVar("F", bound=Callable[..., Any])


class HandlerError(Exception):
    """A module of handlers cannot be used."""


def handler(kind: str) -> Callable[[F], F]:
    """Mark a plain or async function as the handler for jobs of this kind. May be applied several times."""
    if not kind or not kind.isprintable():
        raise HandlerError(f"{kind!r} is not a kind of job")

    def mark(function: F) -> F:
        kinds: tuple[str, ...] = getattr(function, _KINDS, ())
        setattr(function, _KINDS, (*kinds, kind))
        return function

    return mark


class Handlers:
    """Handlers by kind. A later one for the same kind replaces an earlier one."""

    def __init__(self) -> None:
        self._by_kind: dict[str, Handler] = {}
        self.sources: list[str] = []

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds that have a handler."""
        return tuple(self._by_kind)

    def add(self, kind: str, function: Handler) -> None:
        """Let ``function`` do jobs of this kind."""
        self._by_kind[kind] = function

    def add_all(self, place: object, source: str) -> int:
        """Add every marked function of a module or object; returns the number of kinds."""
        found = [
            (kind, value)
            for name, value in inspect.getmembers(place, callable)
            if not name.startswith("__")
            for kind in getattr(value, _KINDS, ())
        ]
        for kind, function in found:
            self.add(kind, function)
        if found:
            self.sources.append(source)
        return len(found)

    def call(self, command: Command) -> Json:
        """Do the job. Raises `Failure` for a kind without a handler."""
        function = self._by_kind.get(command.kind)
        if function is None:
            known = ", ".join(sorted(self._by_kind))
            raise Failure(f"this worker has no handler for {command.kind!r}; it has: {known}", retry=False)
        result = function(command)
        return _run(result) if inspect.isawaitable(result) else result

    def load(self, modules: Iterable[str]) -> list[type]:
        """Add the handlers of installed entry points and of these modules; returns the classes the modules define.

        Raises `HandlerError` for a module that cannot be imported or defines neither handlers nor classes.
        """
        from importlib.metadata import entry_points  # noqa: PLC0415 - takes longer than the rest of the module

        for point in entry_points(group=GROUP):
            try:
                place = point.load()
            except (Exception, SystemExit) as error:
                raise HandlerError(f"entry point {point.name} of {GROUP}: {_words(error)}") from error
            marked = getattr(place, _KINDS, ())
            for kind in marked:
                self.add(kind, place)
            if not marked:
                self.add_all(place, f"entry point {point.name}")
        classes: list[type] = []
        for name in modules:
            module = _import(name)
            here = [
                value for _, value in inspect.getmembers(module, inspect.isclass) if value.__module__ == name
            ]
            if not self.add_all(module, name) and not here:
                raise HandlerError(f"module {name} has no function with @handler(…) and no Worker subclass")
            classes += here
        return classes


def _run(result: Any) -> Json:
    import asyncio  # noqa: PLC0415 - most workers never need it

    async def finish() -> Json:
        return await result

    return asyncio.run(finish())


def _import(name: str) -> Any:
    # Python's path includes the script's own folder but not the current one, which is where handlers are.
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise HandlerError(f"module {name} cannot be imported: {_words(error)}") from error


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
