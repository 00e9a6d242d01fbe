"""A process that forks workers to be killed: ``python -m tests.broker.workshop URL DIARY LEASE``.

For each line ``OWNER [late]`` on standard input a child is forked that works under this name until it is killed; its
pid is printed. Forking takes a millisecond where starting Python takes a hundred. ``late``: its clock is an hour ahead.

A worker does what a job's payload says: ``fail`` fails every time, ``seconds`` takes so long. Before it brings a result
it writes ``ran JOB TOKEN OWNER`` into the diary, the effect that the job has on the world; then what became of it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

from paneview.broker import (
    Backoff,
    Broker,
    Claim,
    Lease,
    Outcome,
    Settings,
    UnavailableError,
    lanes_of,
    open_broker,
)

SETTINGS = Settings(max_depth=None, max_attempts=5, backoff=Backoff(base=0.05, longest=0.2), look=0.25)


class Diary:
    """Lines appended by many processes, each with one system call."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *words: object) -> None:
        """One line."""
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())


def expected(payload: dict[str, object], token: int) -> dict[str, object]:
    """The output of a job."""
    return {"n": payload["n"], "token": token}


class Hand:
    """One worker: a loop, and a thread that renews."""

    def __init__(self, broker: Broker, owner: str, diary: Diary, seconds: float) -> None:
        self.broker = broker
        self.diary = diary
        self.want = Claim(owner, lanes_of(owner, ["work"]), 1, seconds)
        self.current: Lease | None = None
        threading.Thread(target=self._renew, daemon=True).start()

    def _renew(self) -> None:
        while True:
            time.sleep((self.want.seconds or 1) / 3)
            if lease := self.current:
                try:
                    self.broker.renew([lease])
                except UnavailableError:
                    continue

    def work(self) -> None:
        """For ever."""
        leases: list[Lease] = []
        while True:
            try:
                leases = leases or self.broker.claim(self.want, wait=5.0)
                while leases:
                    leases = list(self._do(leases[0]))
            except UnavailableError as error:
                self.diary.write("away", self.want.owner, error)

    def _do(self, lease: Lease) -> tuple[Lease, ...]:
        self.current = lease
        self.diary.write("ran", lease.id, lease.token, self.want.owner)
        payload = lease.job.payload
        time.sleep(payload.get("seconds", 0.0))
        outcome = Outcome(output=expected(payload, lease.token), host="here")
        if payload.get("fail"):
            outcome = Outcome("error", error=f"failure {lease.attempt}")
        while True:
            try:
                told = self.broker.finish(lease, outcome, claim=self.want)
                break
            except UnavailableError as error:  # what it has done is kept until it is told
                self.diary.write("away", self.want.owner, error)
        self.current = None
        self.diary.write(told.verdict.value, lease.id, lease.token, self.want.owner)
        return told.leases


def _child(url: str, diary: Path, seconds: float, owner: str, *, late: bool) -> None:
    random.seed()
    if late:
        real = time.time
        time.time = lambda: real() + 3600
    Hand(open_broker(url, settings=SETTINGS), owner, Diary(diary), seconds).work()


def main() -> None:
    """Fork, say who, reap."""
    url, diary, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    for line in sys.stdin:
        owner, *rest = line.split()
        pid = os.fork()
        if pid == 0:
            try:
                _child(url, diary, seconds, owner, late="late" in rest)
            finally:
                os._exit(1)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
