"""The workers that the queue lists for this host: which of them are really there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paneview import proc

if TYPE_CHECKING:
    from paneview.broker import Broker, Registration, WorkerView


def release_dead(broker: Broker, name: str, host: str) -> None:
    """Give back the jobs of workers with this name whose process on this host is gone.

    Workers that were silent before they died (hung, then killed) no longer count as alive, but still hold their jobs.
    """
    for view in workers_here(broker, host):
        left = (view.alive or view.jobs) and view.worker.name == name
        if left and not is_running(view.worker):
            broker.release_owner(view.worker.id, "its process died")
            broker.workers.leave(view.worker.id, "its process died")


def workers_here(broker: Broker, host: str) -> list[WorkerView]:
    """The workers whose processes can be looked up here; those registered by an older version have no boot id.

    A worker of another boot has ended with it, or is on another host of the same name; one of another pid namespace is,
    or was, in a container of the same name. Whether these are alive, only their leases show.
    """
    boots, spaces = ("", proc.boot_id()), ("", proc.pid_space())
    views = broker.workers.all(host=host)
    return [view for view in views if view.worker.boot in boots and view.worker.pids in spaces]


def is_running(worker: Registration) -> bool:
    """Whether the worker's own process is running, not a later one with the same pid."""
    found = proc.identify(worker.pid)
    return found is not None and (not worker.boot or found.start == worker.start)
