"""Workers and flags: one file each, whose age is the time since the last heartbeat, or since a flag was set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict

from paneview.broker.directory.desk import Desk
from paneview.broker.directory.disk import GONE, age_by, explained, move, names, read_json, remove
from paneview.broker.directory.keeping import readdress
from paneview.broker.directory.layout import check_lane, quoted, short
from paneview.broker.interface import QUARANTINE, Flags, Registry, mark_of
from paneview.broker.model import Json
from paneview.broker.staff import Registration, WorkerView
from paneview.broker.targets import lanes_of

FORGET = 86_400.0  # seconds after they left


class DirectoryFlags(Flags):
    """See `Flags`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._root = desk.layout.root

    def _folder(self, scope: str) -> str:
        return f"{self._desk.layout.own}/flags/{short(scope)}"

    def set(self, scope: str, name: str, value: Mapping[str, Json], ttl: float | None = None) -> None:
        """Set a flag."""
        with explained(self._root):
            path = f"{self._folder(scope)}/{short(name)}.json"
            self._desk.scratch.replace(path, {"name": name, "value": dict(value), "ttl": ttl})

    def clear(self, scope: str, name: str) -> bool:
        """Remove a flag."""
        with explained(self._root):
            there = name in self.all(scope)
            remove(f"{self._folder(scope)}/{short(name)}.json")
        return there

    def all(self, scope: str) -> dict[str, dict[str, Json]]:
        """Every name of the scope."""
        found: dict[str, dict[str, Json]] = {}
        with explained(self._root):
            now = self._desk.scratch.now()
            for entry in names(self._folder(scope)):
                path = f"{self._folder(scope)}/{entry}"
                flag, age = read_json(path), age_by(path, now)
                if flag is None or age is None or not {"name", "value"} <= flag.keys():
                    continue
                if flag.get("ttl") is not None and age >= flag["ttl"]:
                    continue  # not removed, because it may have been set again just now
                found[flag["name"]] = flag["value"]
        return found


class DirectoryRegistry(Registry):
    """See `Registry`."""

    def __init__(self, desk: Desk, flags: DirectoryFlags) -> None:
        super().__init__(flags, desk.feed)
        self._desk = desk
        self._root = desk.layout.root

    def _path(self, worker: str, folder: str = "workers") -> str:
        return f"{self._desk.layout.own}/{folder}/{quoted(worker)}.json"

    def register(self, worker: Registration) -> None:
        """Register a new incarnation of a worker. Raises `BadJobError` if a lane of its would be too long a name."""
        for lane in lanes_of(worker.id, worker.roles, worker.host, [worker.name] if worker.name else []):
            check_lane(lane)
        with explained(self._root):
            info = {"worker": asdict(worker), "started_at": self._desk.scratch.now()}
            self._desk.scratch.replace(self._path(worker.id), info)
            remove(self._path(worker.id, "gone"))
            self._desk.feed.tell(
                "worker_started", worker=worker.id, detail={"name": worker.name, "host": worker.host}
            )

    def beat(self, worker: str) -> bool:
        """Record a heartbeat."""
        with explained(self._root):
            try:
                os.utime(self._path(worker))
            except OSError as error:
                if error.errno in GONE:
                    return False
                raise
        return True

    def leave(self, worker: str, reason: str = "") -> None:
        """Record that a worker ended."""
        with explained(self._root):
            path = self._path(worker)
            known, age = _read(path), age_by(path, self._desk.scratch.now())
            if self._go(worker):
                if known is not None and age is not None and age >= known[0].ttl:
                    self._missed(worker, known[0].ttl)  # not reported so far
                self._desk.feed.tell("worker_stopped", worker=worker, detail={"reason": reason})

    def _go(self, worker: str) -> bool:
        if not move(self._path(worker), self._path(worker, "gone")):
            return False
        os.utime(self._path(worker, "gone"))
        return True

    def lose(self) -> list[str]:
        """Mark workers that missed their heartbeats as gone; returns their ids."""
        lost = []
        now = self._desk.scratch.now()
        for worker, age, _ in self._entries("workers", now):
            if age >= worker.ttl and self._go(worker.id):
                self._missed(worker.id, worker.ttl)
                lost.append(worker.id)
        return lost

    def _missed(self, worker: str, ttl: float) -> None:
        self._desk.feed.tell("heartbeat_missed", worker=worker, detail={"ttl": ttl})

    def settle_estates(self) -> int:
        """Readdress the jobs of workers that are gone, and forget the oldest of these; returns the number of jobs."""
        number = 0
        now = self._desk.scratch.now()
        for worker, age, _ in self._entries("gone", now):
            number += readdress(self._desk, worker.id, worker.heirs()[0])
            if age > FORGET:
                remove(self._path(worker.id, "gone"))
        return number

    def _entries(self, folder: str, now: float) -> list[tuple[Registration, float, float]]:
        """(worker, seconds since its last heartbeat, when it started) for each."""
        found = []
        for name in names(f"{self._desk.layout.own}/{folder}"):
            path = f"{self._desk.layout.own}/{folder}/{name}"
            known, age = _read(path), age_by(path, now)
            if known is not None and age is not None:
                found.append((known[0], age, known[1]))
        return found

    def all(self, *, role: str = "", host: str = "", alive_only: bool = False) -> list[WorkerView]:
        """The workers."""
        with explained(self._root):
            quarantined = self._flags.all(QUARANTINE)
            now = self._desk.scratch.now()
            holds: dict[str, list[str]] = {}
            for spot in self._desk.leased():
                holds.setdefault(spot.owner, []).append(spot.id)
            views = [
                WorkerView(
                    worker,
                    started,
                    age,
                    folder == "workers" and age < worker.ttl,
                    tuple(sorted(holds.get(worker.id, ()))),
                    mark_of(quarantined, worker.name, worker.host) is not None,
                )
                for folder in ("workers", "gone")
                for worker, age, started in self._entries(folder, now)
            ]
        views.sort(key=lambda view: -view.started_at)
        return [view for view in views if view.is_one_of(role, host, alive_only=alive_only)]


def _read(path: str) -> tuple[Registration, float] | None:
    """A worker and when it started; None if the file is gone or not one of ours."""
    info = read_json(path)
    try:
        return None if info is None else (Registration.from_json(info["worker"]), float(info["started_at"]))
    except (KeyError, TypeError, ValueError):
        return None
