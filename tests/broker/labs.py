"""One laboratory per broker: opens it, and makes time pass for it without waiting.

`age` moves everything the broker judges by its clock into the past: leases, delays, heartbeats, leaders, flags.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paneview.broker import Broker, Settings, open_broker
from paneview.broker.sqlite.broker import SqliteBroker
from tests.broker.servers import RedisServer

SETTINGS = Settings(max_depth=None)


class Lab:
    """A place for one queue, which any number of broker objects share."""

    url: str

    def __init__(self) -> None:
        self._opened: list[Broker] = []

    def open(self, settings: Settings = SETTINGS) -> Broker:
        """A broker object of its own; `close` closes it."""
        self._opened.append(open_broker(self.url, settings=settings))
        return self._opened[-1]

    def age(self, seconds: float) -> None:
        """Let so many seconds pass."""
        raise NotImplementedError

    def check(self) -> None:
        """Whatever must hold in the store itself."""

    def close(self) -> None:
        """Close what was opened."""
        for broker in self._opened:
            broker.close()


class SqliteLab(Lab):
    """A file."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "queue.db"
        self.url = f"sqlite://{self.path}"

    def age(self, seconds: float) -> None:
        """Let so many seconds pass."""
        with SqliteBroker(self.path, SETTINGS) as broker, broker._database.write() as step:
            for statement in (
                "UPDATE jobs SET lease_until = lease_until - ?1, due = due - ?1, ended_at = ended_at - ?1",
                "UPDATE workers SET beat = beat - ?1, gone = gone - ?1",
                "UPDATE leaders SET until = until - ?1",
                "UPDATE flags SET until = until - ?1",
            ):
                step.sql(statement, (seconds,))
            for (worker,) in step.rows("SELECT id FROM workers"):
                if (beat := broker._beats.last(worker)) > 0:
                    broker._beats.sign(worker, beat - seconds)

    def check(self) -> None:
        """The file is sound."""
        with sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


_AGE = """
local B, by = KEYS[1], tonumber(ARGV[1])
local function shift(key, field)
  local old = tonumber(redis.call('HGET', key, field) or '')
  if old then redis.call('HSET', key, field, string.format('%.0f', old - by)) end
end
for _, name in ipairs({ 'delayed', 'leases', 'beats', 'gone' }) do
  for _, id in ipairs(redis.call('ZRANGE', B .. name, 0, -1)) do redis.call('ZINCRBY', B .. name, -by, id) end
end
for _, id in ipairs(redis.call('ZRANGE', B .. 'jobs', 0, -1)) do
  for _, field in ipairs({ 'due', 'lease_until', 'ended_at' }) do shift(B .. 'job:' .. id, field) end
end
for _, key in ipairs(redis.call('KEYS', B .. 'leader:*')) do shift(key, 'until') end
for _, key in ipairs(redis.call('KEYS', B .. 'flags:*')) do
  for _, name in ipairs(redis.call('HKEYS', key)) do
    local till, value = string.match(redis.call('HGET', key, name), '^(%d+)( .*)$')
    if till then redis.call('HSET', key, name, string.format('%.0f', till - by) .. value) end
  end
end
"""


class RedisLab(Lab):
    """A server, emptied before."""

    def __init__(self, server: RedisServer, prefix: str = "lab") -> None:
        super().__init__()
        self.server = server
        self.prefix = prefix
        self.url = f"redis://127.0.0.1:{server.port}/0?prefix={prefix}"
        server.forget()

    def age(self, seconds: float) -> None:
        """Let so many seconds pass."""
        with self.server.client as client:
            client.eval(_AGE.replace("KEYS[1]", f"'{{{self.prefix}}}:'"), 0, round(seconds * 1000))

    def check(self) -> None:
        """The sets agree with the jobs, and every key is ours."""
        with self.server.client as client:
            base = f"{{{self.prefix}}}:"
            keys = client.keys("*")
            assert all(key.startswith(base) for key in keys)
            waiting: dict[str, str] = {}
            for name in ("delayed", "leases"):
                waiting |= dict.fromkeys(client.zrange(base + name, 0, -1), name)
            waiting |= dict.fromkeys(client.smembers(base + "blocked"), "blocked")
            for key in keys:
                if key.startswith(base + "ready:"):
                    waiting |= dict.fromkeys(client.zrange(key, 0, -1), "queued")
            for job in client.zrange(base + "jobs", 0, -1):
                state = client.hget(f"{base}job:{job}", "state")
                assert waiting.pop(job, state) == {"leased": "leases"}.get(state, state), job
            assert not waiting


class DirectoryLab(Lab):
    """A folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "shared"
        self.url = f"dir://{self.path}?interval=0.2"

    def age(self, seconds: float) -> None:
        """Let so many seconds pass: every file is older, and what waits for a time is due earlier."""
        files = {
            path.stat().st_ino: path for path in self.path.rglob("*")
        }  # by inode: a job has several links
        for path in files.values():
            status = path.stat()
            os.utime(path, (status.st_atime - seconds, status.st_mtime - seconds))
        for state in ("delayed", "blocked"):
            for path in self.path.glob(f"paneview/{state}/*/*"):
                due, _, rest = path.name.partition("_")
                if int(due):  # a blocked job may have no time of its own
                    path.rename(path.with_name(f"{int(due) - round(seconds * 1e6):016d}_{rest}"))


@contextmanager
def opened(lab: Lab) -> Iterator[Lab]:
    """The lab for the time of a block, and checked at its end."""
    try:
        yield lab
    finally:
        lab.close()
    lab.check()
