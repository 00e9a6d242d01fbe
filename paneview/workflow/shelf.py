"""Workflows in the broker's documents: read, changed by the rules from the version that was read, and remembered."""

from __future__ import annotations

import threading
import time

from paneview.broker import Broker, BrokerError, ConflictError, Leadership
from paneview.rules.workflow import Workflow, happenings, step

SCOPE = "workflows"
CHANGED = "workflow_changed"
"""The event of a change, in the broker's feed."""


class UnknownWorkflowError(BrokerError):
    """There is no workflow of this id."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no workflow {name}")


class Shelf:
    """Any thread may use it. What was read is kept with its version, so that looking again costs little."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, Workflow]] = {}

    def add(self, flow: Workflow) -> None:
        """Put down a new one. Raises `ConflictError` if there is one of this id."""
        version = self._broker.documents.put(SCOPE, flow.id, flow.to_json(), version=0, event=CHANGED)
        self._remember(flow, version)

    def change(
        self, name: str, event: happenings.Happening, leader: Leadership | None = None
    ) -> tuple[Workflow, Workflow, frozenset[happenings.Effect]]:
        """Tell it what happened: it before, after, and what is newly to be done.

        Raises `UnknownWorkflowError`, `StaleLeaderError`.
        """
        with self._lock:
            known = self._known.get(name)
        while True:
            version, flow = known or self._read(name)
            changed, effects = step(flow, event, time.time())
            if changed == flow:
                return flow, flow, frozenset()
            try:
                version = self._broker.documents.put(
                    SCOPE, name, changed.to_json(), version=version, leader=leader, event=CHANGED
                )
            except ConflictError:
                known = None
                continue
            self._remember(changed, version)
            return flow, changed, effects

    def _read(self, name: str) -> tuple[int, Workflow]:
        found = self._broker.documents.get(SCOPE, name)
        if found is None:
            raise UnknownWorkflowError(name)
        flow = Workflow.from_json(found.value)
        self._remember(flow, found.version)
        return found.version, flow

    def _remember(self, flow: Workflow, version: int) -> None:
        with self._lock:
            known = self._known.get(flow.id)
            if known is None or known[0] < version:
                self._known[flow.id] = version, flow

    def get(self, name: str) -> Workflow:
        """One workflow, as it is now. Raises `UnknownWorkflowError`."""
        return self._read(name)[1]

    def remembered(self, name: str, version: int) -> Workflow | None:
        """It, if what is remembered is of this version or later."""
        with self._lock:
            known = self._known.get(name)
        return known[1] if known and known[0] >= version else None

    def all(self) -> list[Workflow]:
        """Every workflow, the newest first; only what has changed is read."""
        versions = self._broker.documents.versions(SCOPE)
        with self._lock:
            for name in set(self._known) - set(versions):
                del self._known[name]
        flows = []
        for name, version in versions.items():
            flow = self.remembered(name, version)
            if flow is None:
                try:
                    flow = self._read(name)[1]
                except UnknownWorkflowError:
                    continue
            flows.append(flow)
        return sorted(flows, key=lambda flow: (flow.created_at, flow.id), reverse=True)

    def forget(self, name: str) -> None:
        """Remove one that is over."""
        self._broker.documents.remove(SCOPE, name)
        with self._lock:
            self._known.pop(name, None)
