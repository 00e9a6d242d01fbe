"""Other task managers, each doing what the table asks of paneview, with the same tasks, bell and clock.

Each lives in a virtual environment of its own below one folder (``--peers FOLDER``, made on the first run);
one that cannot be installed is reported as absent. They are set up as their manuals say, with their delays (a
restart only after N seconds) turned off where they have such a setting.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.place import Place
from tests.bench.table import Reference
from tests.bench.usage import cost
from tests.harness import free_port, marked

TASKS = 50
IDLE_WINDOW = 30.0  # seconds; taskmux looks at its tasks that often


@dataclass(frozen=True)
class Setup:
    """What a peer's configuration is made from."""

    folder: Path
    place: Place
    port: int
    names: tuple[str, ...] = tuple(f"t{number}" for number in range(1, TASKS + 1))

    def command(self, name: str, final: str = "exec sleep 100000") -> str:
        """Shell text of one task: ring, then stay."""
        return f"{self.place.ring(name, '$$')}; {final}"


@dataclass(frozen=True)
class Peer:
    """How to make one peer do each thing; None where it can't."""

    requirement: str
    configure: Callable[[Setup], None]
    supervise: str | None
    """Starts the supervisor with no task running."""
    start: str
    """Starts all tasks; for a peer without ``supervise`` it stays in the foreground."""
    status: str | None = None
    stop: str | None = None
    restart: str | None = None
    revives: bool = True
    """Whether it brings a dead task back."""

    @property
    def name(self) -> str:
        return self.requirement.replace("==", " ")


@dataclass(frozen=True)
class Figures:
    """A peer's figures: times in milliseconds; None where it can't, or did not in time."""

    start: float | None = None
    status: float | None = None
    stop: float | None = None
    restart: float | None = None
    revive: float | None = None
    cpu_percent: float | None = None
    pss_mb: float | None = None


def _taskmux(setup: Setup) -> None:
    tasks = "".join(
        f"[tasks.{name}]\nrestart_policy = 'always'\nrestart_backoff = 0.0\n"
        f"command = '{setup.command(name, 'sleep 100000')}'\n"
        for name in setup.names
    )
    (setup.folder / "taskmux.toml").write_text(f'name = "peer"\n{tasks}')


def _supervisord(setup: Setup) -> None:
    head = (
        "[supervisord]\nnodaemon=true\n[unix_http_server]\nfile=%(here)s/s.sock\n"
        "[supervisorctl]\nserverurl=unix://%(here)s/s.sock\n[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
    )
    tasks = "".join(
        f"[program:{name}]\nautostart=false\nautorestart=true\nstartsecs=0\nstopsignal=INT\n"
        f"command=/bin/sh -c '{setup.command(name)}'\n"
        for name in setup.names
    )
    (setup.folder / "supervisord.conf").write_text(head + tasks)


def _honcho(setup: Setup) -> None:
    lines = (f"{name}: {setup.command(name)}\n" for name in setup.names)
    (setup.folder / "Procfile").write_text("".join(lines))


PEERS = (
    Peer(
        "taskmux==0.4.0", _taskmux, "taskmux daemon --port {port}", "taskmux --json start",
        "taskmux --json status", "taskmux stop t1", "taskmux restart t1",
    ),
    Peer(
        "supervisor==4.3.0", _supervisord, "supervisord -c supervisord.conf",
        "supervisorctl -c supervisord.conf start all", "supervisorctl -c supervisord.conf status",
        "supervisorctl -c supervisord.conf stop t1", "supervisorctl -c supervisord.conf restart t1",
    ),
    Peer("honcho==2.0.0", _honcho, None, "honcho start", revives=False),
)  # fmt: skip


def install(folder: Path) -> dict[str, Path]:
    """The folder of each peer's programs; missing ones are installed if the registry has them."""
    found = {}
    for peer in PEERS:
        home = folder / peer.requirement
        if not home.exists():
            subprocess.run([sys.executable, "-m", "venv", home], check=True)
            pip = [home / "bin" / "pip", "install", "-q", peer.requirement]
            if subprocess.run(pip, check=False, capture_output=True).returncode:
                continue
        found[peer.requirement] = home / "bin"
    return found


def measure_all(folder: Path) -> dict[str, Figures]:
    """The figures of each peer, by name; an absent one has none."""
    programs = install(folder)
    figures = {}
    for peer in PEERS:
        print(f"peer {peer.name} …", file=sys.stderr, flush=True)
        bin_folder = programs.get(peer.requirement)
        figures[peer.name] = _measure(peer, bin_folder) if bin_folder else Figures()
    return figures


def references(figures: dict[str, Figures], field: str) -> list[Reference]:
    """One figure of every peer, to stand beside ours."""
    return [Reference(name, getattr(of_peer, field)) for name, of_peer in figures.items()]


class _Session:
    """One peer at work in a place of its own."""

    def __init__(self, place: Place, peer: Peer, bin_folder: Path) -> None:
        self.place = place
        self.peer = peer
        self.bin = bin_folder
        # taskmux looks for its logger on the PATH, and keeps no logs if it does not find it.
        place.env["PATH"] = f"{bin_folder}:{place.env['PATH']}"
        self.setup = Setup(place.root, place, free_port())
        peer.configure(self.setup)

    def argv(self, command: str) -> list[str]:
        program, *args = command.format(port=self.setup.port).split()
        return [str(self.bin / program), *args]

    def timed(self, command: str | None, runs: int = 3) -> float | None:
        """Median milliseconds of a command, None if it fails or there is none."""
        if command is None:
            return None
        times = []
        for _ in range(runs):
            began = time.perf_counter()
            done = self.place.run(*self.argv(command))
            if done.returncode:
                return None
            times.append(1000 * (time.perf_counter() - began))
        return sorted(times)[runs // 2]

    def start(self) -> float:
        """Milliseconds from the command until the last task rang."""
        if self.peer.supervise:
            self.place.spawn(*self.argv(self.peer.supervise))
            time.sleep(3)  # the peers have no common way to say that they listen; not part of the figure
        began = time.perf_counter()
        self.place.spawn(*self.argv(self.peer.start))
        last, lines = self.place.bell.count(TASKS)
        self.shells = {name: int(pid) for name, pid in (line.split() for line in lines)}
        return 1000 * (last - began)

    def revive(self, name: str) -> float | None:
        """Milliseconds from a task process's death until it rings again, None if it does not in 45 s."""
        shell = psutil.Process(self.shells[name])
        victim = next(iter(shell.children()), shell)
        self.place.bell.forget()
        began = time.perf_counter()
        victim.kill()
        try:
            again, _ = self.place.bell.wait(lambda line: line.startswith(f"{name} "), 45)
        except TimeoutError:
            return None
        return 1000 * (again - began)

    def ours(self) -> list[int]:
        """The peer's own processes: all but the tasks' (their shells, and what these started)."""
        tasks = set(self.shells.values())
        own = [p for p in marked(self.place.marker) if p.pid not in tasks and p.ppid() not in tasks]
        return [p.pid for p in own if p.name() not in {"sleep", "tmux: server"}]


def _measure(peer: Peer, bin_folder: Path) -> Figures:
    place = Place()
    try:
        session = _Session(place, peer, bin_folder)
        try:
            start = session.start()
        except TimeoutError as error:
            print(f"peer {peer.name}: {error}", file=sys.stderr)
            return Figures()
        time.sleep(2)  # let the start's own work end before idle is measured
        idle = cost(session.ours(), IDLE_WINDOW)
        return Figures(
            start=start,
            status=session.timed(peer.status),
            revive=session.revive("t2") if peer.revives else None,
            restart=session.timed(peer.restart),
            stop=session.timed(peer.stop, runs=1),
            cpu_percent=idle.cpu_percent,
            pss_mb=idle.pss_mb,
        )
    finally:
        place.close()
