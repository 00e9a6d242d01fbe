"""Workflows in the broker's documents: read, changed by the rules from the version that was read, and cached."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from paneview.broker import Broker, BrokerError, ConflictError, Leadership
from paneview.rules.workflow import Workflow, events, step

logger = logging.getLogger(__name__)

SCOPE = "workflows"
CHANGED = "workflow_changed"
"""The kind of the event for a change, in the broker's feed."""
KEEP = 30 * 86_400.0  # seconds that a workflow is kept after its end
MOST_KEPT = 500


class UnknownWorkflowError(BrokerError):
    """There is no workflow with this id."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no workflow {name}")


class UnreadableWorkflowError(UnknownWorkflowError):
    """A workflow is stored in a form that this version does not know."""

    def __init__(self, name: str, why: object) -> None:
        BrokerError.__init__(
            self, f"workflow {name} is of another version of paneview, and can't be read: {why}"
        )


Told = Callable[[Workflow | None, Workflow], None]
"""Called with a workflow before (None for a new one) and after a change, in the order of the changes."""


class Shelf:
    """The stored workflows; thread-safe. What was read is cached with its version, so reading it again is cheap.

    One change is made at a time, so that ``told`` is called in their order; it must not block.
    """

    def __init__(self, broker: Broker, told: Told = lambda _before, _after: None) -> None:
        self._broker = broker
        self._told = told
        self._lock = threading.RLock()
        self._known: dict[str, tuple[int, Workflow]] = {}
        self._unread: dict[str, int] = {}  # versions that cannot be read, and were reported

    def add(self, flow: Workflow) -> None:
        """Store a new workflow. Raises `ConflictError` if its id is taken."""
        with self._lock:
            version = self._broker.documents.put(SCOPE, flow.id, flow.to_json(), version=0, event=CHANGED)
            self._known[flow.id] = version, flow
            self._told(None, flow)

    def change(
        self, name: str, event: events.Event, leader: Leadership | None = None
    ) -> tuple[Workflow, Workflow]:
        """Apply an event; returns the workflow before and after. Raises `UnknownWorkflowError`, `StaleLeaderError`."""
        with self._lock:
            version, flow = self._known.get(name) or self._read(name)
            while True:
                changed, _ = step(flow, event, time.time())
                if changed == flow:
                    latest, flow = self._read(name)  # the event may apply to what others have changed
                    if latest == version:
                        return flow, flow
                    version = latest
                    continue
                try:
                    version = self._broker.documents.put(
                        SCOPE, name, changed.to_json(), version=version, leader=leader, event=CHANGED
                    )
                except ConflictError:
                    version, flow = self._read(name)
                    continue
                self._known[name] = version, changed
                self._told(flow, changed)
                return flow, changed

    def _read(self, name: str) -> tuple[int, Workflow]:
        """The current version; ``told`` is called if others have changed it."""
        found = self._broker.documents.get(SCOPE, name)
        if found is None:
            raise UnknownWorkflowError(name)
        known = self._known.get(name)
        # An older version than ours counts, too: a Redis that was killed may have lost the last changes.
        if known is not None and known[0] == found.version:
            return known
        try:
            flow = Workflow.from_json(found.value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnreadableWorkflowError(name, repr(error)) from error
        self._known[name] = found.version, flow
        if known is not None:
            self._told(known[1], flow)
        return found.version, flow

    def get(self, name: str) -> Workflow:
        """The current state of a workflow. Raises `UnknownWorkflowError`."""
        with self._lock:
            return self._read(name)[1]

    def heard(self, name: str, version: int) -> Workflow:
        """A workflow in this version or a later one, made by any process. Raises `UnknownWorkflowError`."""
        with self._lock:
            known = self._known.get(name)
            if known is not None and known[0] >= version:
                return known[1]
            flow = self._read(name)[1]
            if known is None:
                self._told(None, flow)
            return flow

    def remembered(self, name: str) -> Workflow | None:
        """A workflow as last seen; None if it was never read."""
        with self._lock:
            known = self._known.get(name)
        return known[1] if known else None

    def all(self) -> list[Workflow]:
        """All workflows, newest first; reads only what has changed."""
        versions = self._broker.documents.versions(SCOPE)
        flows = []
        with self._lock:
            for name in set(self._known) - set(versions):
                if self._broker.documents.get(SCOPE, name) is None:
                    del self._known[name]
            for name, version in versions.items():
                known = self._known.get(name)
                try:
                    flows.append(known[1] if known and known[0] == version else self._read(name)[1])
                except UnknownWorkflowError as error:
                    if isinstance(error, UnreadableWorkflowError) and self._unread.get(name) != version:
                        self._unread[name] = version
                        logger.warning("%s", error)
        return sorted(flows, key=lambda flow: (flow.created_at, flow.id), reverse=True)

    def forget(self, name: str) -> None:
        """Remove a workflow that is over."""
        with self._lock:
            self._broker.documents.remove(SCOPE, name)
            self._known.pop(name, None)

    def tidy(self, home: str) -> None:
        """Remove the home's workflows that ended long ago."""
        over = [flow for flow in self.all() if flow.status.final and flow.home == home]
        for number, flow in enumerate(over):
            if number >= MOST_KEPT or (flow.ended_at or 0.0) < time.time() - KEEP:
                self.forget(flow.id)
