"""All processes in one pass, and which of them belong to a task.

A task's processes are found in four ways, because each misses some: the tree below its pane's process (misses
double-forked ones), its session (misses those that called setsid), the marker in the environment (misses those
that cleared it) and the processes seen before (misses only those never seen).

A full pass costs 20 µs a process, several milliseconds for a project of fifty tasks. So a look reuses the previous
one: only new processes are read, and any about to be returned as a member is read again, in case it is dead or has
become a tmux server. A process that is not read again cannot have become a member, because none joins a tree or a
session that it was not born into. A pid could only belong to another process if the kernel had gone through all pids,
which its own count of forks rules out (`_Base`). Callers that ask at the same moment share a look.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from typing import NamedTuple

from paneview.proc.backend import backend
from paneview.proc.ids import ProcessId
from paneview.proc.row import Backend, Row

MARKER = "PANEVIEW_RUN"
# The prefix of the marker of an agent's run. The agent outlives the worker that started it, and the next one waits for
# it, so it is a member of its own run only.
AGENT = "agent-"
# A table this young is good enough for callers that act on what they find and then look again.
RECENT = 0.002  # seconds
# A process older than this has long called the exec that gave it its environment, so what was read of it
# stays true.
SETTLED = 10.0  # seconds
# A fork may call exec at any time, and many never do. It is read at every look for this long, then at full passes only.
YOUNG = 2.0  # seconds
# How long the rows of a full pass are reused, provided that there were so few forks since that no pid can have been
# given out twice.
FULL_EVERY = 5.0  # seconds
FORKS = 10_000
# A tmux server started by a task inherits the marker, yet holds the user's own sessions.
_TMUX_SERVER = "tmux: server"


def marker(project_key: str, run: int) -> str:
    """The value of the environment variable PANEVIEW_RUN that every process of this run carries."""
    return f"{project_key}-{run}"


class _Marks:
    """The markers of processes, cached because reading environments is the most expensive part of a look."""

    def __init__(self, source: Backend) -> None:
        self._source = source
        # The marker, and whether it was read before the process's exec.
        self._known: dict[ProcessId, tuple[str, bool]] = {}

    def get(self, row: Row) -> str:
        """The marker of this process; empty if it has none or is not readable."""
        identity = ProcessId(row.pid, row.start)
        known = self._known.get(identity)
        if known is not None and (row.forked or not known[1]):  # only exec changes the environment
            return known[0]
        data = self._source.environment(row.pid)
        value = _marker_in(data) if data else ""
        # In the middle of its exec a process has no environment.
        if value or (data and not row.forked) or self._age(row) > SETTLED:
            self._known[identity] = value, row.forked
        return value

    def _age(self, row: Row) -> float:
        return time.time() - self._source.started_at(row.start)

    def forget_gone(self, rows: dict[int, Row]) -> None:
        """Forget processes that no longer exist."""
        for identity in [i for i in self._known if i.pid not in rows or rows[i.pid].start != i.start]:
            del self._known[identity]


def _marker_in(environment: bytes) -> str:
    prefix = f"{MARKER}=".encode()
    at = 0 if environment.startswith(prefix) else environment.find(b"\0" + prefix) + 1
    if at == 0 and not environment.startswith(prefix):
        return ""
    return environment[at + len(prefix) :].partition(b"\0")[0].decode("utf-8", "replace")


_marks: dict[int, _Marks] = {}


class _Base(NamedTuple):
    """When (monotonic) the last full pass was made, and the kernel's count of forks then; None if unknown."""

    at: float
    forks: int | None

    def serves(self, source: Backend) -> bool:
        """Whether every pid seen then still belongs to the same process, or to none."""
        if self.forks is None or time.monotonic() - self.at > FULL_EVERY:
            return False
        forks = source.forks()
        return forks is not None and forks - self.forks < FORKS


_latest: tuple[float, float, ProcessTable] | None = None  # when the look began and ended, and its table


class ProcessTable:
    """The machine's processes at one instant.

    ``earlier`` are the pids whose rows are from an earlier look: these are read again before they are returned.
    """

    def __init__(
        self, rows: dict[int, Row], source: Backend, base: _Base, earlier: Collection[int] = ()
    ) -> None:
        self.rows = rows
        self.base = base
        self._source = source
        self._earlier = set(earlier)
        self._children: dict[int, list[int]] = {}
        self._sessions: dict[int, list[int]] = {}
        for row in rows.values():
            self._children.setdefault(row.ppid, []).append(row.pid)
            self._sessions.setdefault(row.session, []).append(row.pid)
        self._marks = _marks.setdefault(id(source), _Marks(source))
        self._marks.forget_gone(rows)
        self._marked: dict[str, set[ProcessId]] | None = None  # read once, on first use
        self._protected = self._ancestors(os.getpid()) | {0, 1}

    @classmethod
    def read(cls, source: Backend = backend) -> ProcessTable:
        """Read every process now; the only way to get current usage figures."""
        began = time.monotonic()
        forks = source.forks()  # before the pass, so that what is forked meanwhile is counted
        found = {row.pid: row for pid in source.pids() if (row := source.read(pid))}
        return cls._keep(cls(found, source, _Base(began, forks)), began)

    @classmethod
    def recent(cls) -> ProcessTable:
        """The latest look if it is younger than `RECENT`, else a new one; usage figures may be older."""
        if _latest and time.monotonic() - _latest[1] < RECENT:
            return _latest[2]
        return cls._look()

    @classmethod
    def _look(cls) -> ProcessTable:
        """List the processes that exist now; read only those that are new or may have called exec since."""
        if _latest is None or not _latest[2].base.serves(backend):
            return cls.read()
        began, before = time.monotonic(), _latest[2]
        young = time.time() - YOUNG
        rows: dict[int, Row] = {}
        earlier: list[int] = []
        for pid in backend.pids():
            row = before.rows.get(pid)
            if row is None or (row.forked and backend.started_at(row.start) > young):
                row = backend.read(pid)
            else:
                earlier.append(pid)
            if row:
                rows[pid] = row
        return cls._keep(cls(rows, backend, before.base, earlier), began)

    @classmethod
    def _keep(cls, table: ProcessTable, began: float) -> ProcessTable:
        global _latest  # noqa: PLW0603 - one process, one machine: the latest look at it
        if table._source is backend:
            _latest = (began, time.monotonic(), table)
        return table

    @classmethod
    async def fresh(cls) -> ProcessTable:
        """A look that begins after this call; all callers in the same turn of the event loop share it.

        A look blocks the loop, so all calls meanwhile share the next one: however many callers there are, looks
        never pile up.
        """
        import asyncio  # noqa: PLC0415 - callers have it loaded; an agent's shim never calls this

        asked = time.monotonic()
        await asyncio.sleep(0)
        if _latest and _latest[0] >= asked:
            return _latest[2]
        return cls._look()

    def get(self, process: ProcessId) -> Row | None:
        """The row of this process; None unless it is alive."""
        row = self._current(process.pid)
        return row if row and row.start == process.start and not row.dead else None

    def tree(self, root: int) -> list[Row]:
        """The process with this pid and all its descendants, without zombies."""
        return [row for row in self._below([root]) if not row.dead]

    def session(self, sid: int) -> list[Row]:
        """The live processes of a session."""
        rows = (self._current(pid) for pid in self._sessions.get(sid, ()))
        return [row for row in rows if row and row.session == sid and not row.dead]

    def marked(self, prefix: str = "") -> dict[str, set[ProcessId]]:
        """The live processes whose marker begins with ``prefix``, by marker."""
        if self._marked is None:
            self._marked = {}
            for row in self.rows.values():
                value = "" if self._is_off_limits(row) else self._marks.get(row)
                if value:
                    self._marked.setdefault(value, set()).add(ProcessId(row.pid, row.start))
        found = {value: mine for value, mine in self._marked.items() if value.startswith(prefix)}
        return {value: alive for value, mine in found.items() if (alive := set(filter(self.get, mine)))}

    def members(
        self,
        root: ProcessId | None,
        marker: str,
        session: int | None = None,
        known: Collection[ProcessId] = (),
    ) -> set[ProcessId]:
        """The live processes of one task: the tree of ``root``, the session, the marker, ``known`` with their trees.

        Never the caller or one of its ancestors, never a tmux server, and processes of an agent's run only if
        ``marker`` is an agent's.
        """
        apart = set() if marker.startswith(AGENT) else self._agents()
        seeds = {process.pid for process in known if self.get(process)}
        if root and (row := self._current(root.pid)) and row.start == root.start:
            seeds.add(root.pid)
        if session and self._is_same_session(session, root, known):
            seeds.update(self._sessions.get(session, ()))
        if marker:
            seeds.update(process.pid for process in self.marked(marker).get(marker, ()))
        own = root.pid if root and root.pid in seeds and self._is_before_its_exec(root.pid) else None
        below = self._below(seeds, apart, own)
        return {ProcessId(r.pid, r.start) for r in below if not self._is_off_limits(r, own)} - apart

    def _agents(self) -> set[ProcessId]:
        return {process for found in self.marked(AGENT).values() for process in found}

    def _is_same_session(self, session: int, root: ProcessId | None, known: Collection[ProcessId]) -> bool:
        """False if the session's id now belongs to a different leader than the one we knew."""
        leader = self.rows.get(session)
        if leader is None:
            return True  # a session outlives its leader, and the kernel reserves the number while it does
        named = [p for p in (root, *known) if p and p.pid == session]
        return not named or any(p.start == leader.start for p in named)

    def _below(
        self, roots: Collection[int], apart: Collection[ProcessId] = (), own: int | None = None
    ) -> Iterator[Row]:
        """Each process reachable from ``roots``, once; never through one that is off limits or in ``apart``."""
        todo, seen = list(roots), set(roots)
        while todo:
            pid = todo.pop()
            row = self._current(pid)
            if row is None or pid in self._protected or (row.name == _TMUX_SERVER and pid != own):
                continue
            if apart and ProcessId(row.pid, row.start) in apart:
                continue
            yield row
            fresh = [child for child in self._children.get(pid, ()) if child not in seen]
            seen.update(fresh)
            todo.extend(fresh)

    def _current(self, pid: int) -> Row | None:
        """The row of this pid, read now if it is from an earlier look; None if there is no such process."""
        if pid in self._earlier:
            self._earlier.discard(pid)
            row, known = self._source.read(pid), self.rows[pid]
            if row and row.start == known.start:
                self.rows[pid] = row
            else:
                del self.rows[pid]
        return self.rows.get(pid)

    def _is_before_its_exec(self, pid: int) -> bool:
        """Whether a tmux server has just forked this process, which has the server's name until its exec."""
        row = self._current(pid)
        maker = self._current(row.ppid) if row and row.forked else None
        return maker is not None and maker.name == _TMUX_SERVER

    def _is_off_limits(self, row: Row, own: int | None = None) -> bool:
        foreign = row.name == _TMUX_SERVER and row.pid != own
        return row.dead or row.pid in self._protected or foreign

    def _ancestors(self, pid: int) -> set[int]:
        found: set[int] = set()
        while pid and pid not in found:
            found.add(pid)
            row = self.rows.get(pid)
            pid = row.ppid if row else 0
        return found
