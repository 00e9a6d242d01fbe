"""Workers and flags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from paneview.broker.interface import QUARANTINE, Flags, Registry, mark_of
from paneview.broker.jsontext import to_json
from paneview.broker.model import Json
from paneview.broker.redis.codec import fields
from paneview.broker.redis.feed import RedisFeed
from paneview.broker.redis.link import Link
from paneview.broker.staff import Registration, WorkerView


class RedisFlags(Flags):
    """See `Flags`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def set(self, scope: str, name: str, value: Mapping[str, Json], ttl: float | None = None) -> None:
        """Set a flag."""
        text = to_json("a flag", dict(value))
        self._link.call("flag", scope, name, text, "" if ttl is None else round(ttl * 1000))

    def clear(self, scope: str, name: str) -> bool:
        """Remove a flag."""
        return name in fields(self._link.call("flags", scope, name))

    def all(self, scope: str) -> dict[str, dict[str, Json]]:
        """Every name of the scope."""
        return {
            name: json.loads(value) for name, value in fields(self._link.call("flags", scope, "")).items()
        }


class RedisRegistry(Registry):
    """See `Registry`."""

    def __init__(self, link: Link, flags: RedisFlags, feed: RedisFeed) -> None:
        super().__init__(flags, feed)
        self._link = link

    def register(self, worker: Registration) -> None:
        """Register a new incarnation of a worker."""
        detail = to_json("an event", {"name": worker.name, "host": worker.host})
        info = to_json("a worker", asdict(worker))
        self._link.call("register", worker.id, info, round(worker.ttl * 1000), worker.heirs()[0], detail)

    def beat(self, worker: str) -> bool:
        """Record a heartbeat."""
        return bool(self._link.call("beat", worker))

    def leave(self, worker: str, reason: str = "") -> None:
        """Record that a worker ended."""
        self._link.call("leave", worker, to_json("an event", {"reason": reason}))

    def all(self, *, role: str = "", host: str = "", alive_only: bool = False) -> list[WorkerView]:
        """The workers."""
        quarantined = self._flags.all(QUARANTINE)
        views = []
        for info, started, left, gone, jobs in self._link.call("workers"):
            worker = Registration.from_json(json.loads(info))
            age = worker.ttl - int(left) / 1000 if left else int(gone or 0) / 1000
            views.append(
                WorkerView(
                    worker,
                    int(started) / 1000,
                    age,
                    bool(left) and int(left) > 0,
                    tuple(sorted(jobs)),
                    mark_of(quarantined, worker.name, worker.host) is not None,
                )
            )
        views.sort(key=lambda view: -view.started_at)
        return [view for view in views if view.is_one_of(role, host, alive_only=alive_only)]
