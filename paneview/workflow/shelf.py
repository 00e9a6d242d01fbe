"""Workflows in the broker's documents: read, changed by the rules from the version that was read, and remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from paneview.broker import Broker, BrokerError, ConflictError, Leadership
from paneview.rules.workflow import Workflow, happenings, step

SCOPE = "workflows"
CHANGED = "workflow_changed"
"""The event of a change, in the broker's feed."""


class UnknownWorkflowError(BrokerError):
    """There is no workflow of this id."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no workflow {name}")


Told = Callable[[Workflow | None, Workflow], None]
"""Called with a workflow before a change, None for a new one, and after it; in the order of the changes."""


class Shelf:
    """Any thread may use it. What was read is kept with its version, so that looking again costs little.

    One change is made at a time, so that ``told`` hears of all in their order; it must not wait for anything.
    """

    def __init__(self, broker: Broker, told: Told = lambda _before, _after: None) -> None:
        self._broker = broker
        self._told = told
        self._lock = threading.RLock()
        self._known: dict[str, tuple[int, Workflow]] = {}

    def add(self, flow: Workflow) -> None:
        """Put down a new one. Raises `ConflictError` if there is one of this id."""
        with self._lock:
            version = self._broker.documents.put(SCOPE, flow.id, flow.to_json(), version=0, event=CHANGED)
            self._known[flow.id] = version, flow
            self._told(None, flow)

    def change(
        self, name: str, event: happenings.Happening, leader: Leadership | None = None
    ) -> tuple[Workflow, Workflow]:
        """Tell it what happened: it before and after. Raises `UnknownWorkflowError`, `StaleLeaderError`."""
        with self._lock:
            version, flow = self._known.get(name) or self._read(name)
            while True:
                changed, _ = step(flow, event, time.time())
                if changed == flow:
                    latest, flow = self._read(name)  # it may fit what others have made of it
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
        """As it is now; what others have changed is told."""
        found = self._broker.documents.get(SCOPE, name)
        if found is None:
            raise UnknownWorkflowError(name)
        known = self._known.get(name)
        if known is not None and known[0] >= found.version:
            return known
        flow = Workflow.from_json(found.value)
        self._known[name] = found.version, flow
        if known is not None:
            self._told(known[1], flow)
        return found.version, flow

    def get(self, name: str) -> Workflow:
        """One workflow, as it is now. Raises `UnknownWorkflowError`."""
        with self._lock:
            return self._read(name)[1]

    def heard(self, name: str, version: int) -> Workflow:
        """It, in this version or a later one, that somebody has made. Raises `UnknownWorkflowError`."""
        with self._lock:
            known = self._known.get(name)
            if known is not None and known[0] >= version:
                return known[1]
            flow = self._read(name)[1]
            if known is None:
                self._told(None, flow)
            return flow

    def remembered(self, name: str) -> Workflow | None:
        """It, as it was last seen."""
        with self._lock:
            known = self._known.get(name)
        return known[1] if known else None

    def all(self) -> list[Workflow]:
        """Every workflow, the newest first; only what has changed is read."""
        versions = self._broker.documents.versions(SCOPE)
        flows = []
        with self._lock:
            for name in set(self._known) - set(versions):
                if self._broker.documents.get(SCOPE, name) is None:
                    del self._known[name]
            for name, version in versions.items():
                known = self._known.get(name)
                try:
                    flows.append(known[1] if known and known[0] >= version else self._read(name)[1])
                except UnknownWorkflowError:
                    continue
        return sorted(flows, key=lambda flow: (flow.created_at, flow.id), reverse=True)

    def forget(self, name: str) -> None:
        """Remove one that is over."""
        with self._lock:
            self._broker.documents.remove(SCOPE, name)
            self._known.pop(name, None)
