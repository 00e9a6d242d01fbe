"""What a set of processes costs: CPU over a window from ``/proc/PID/stat``, memory as PSS and RSS."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Of all the processes together."""

    cpu_percent: float
    """Of one core."""
    pss_mb: float
    """Proportional set size: pages that several processes share are counted once between them."""
    rss_mb: float
    processes: int


def cpu_seconds(pid: int) -> float:
    """User and system time of one process so far, its reaped children not included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_mb(pid: int) -> tuple[float, float]:
    """PSS and RSS of one process in megabytes (10^6 bytes)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return kilobytes["Pss"] * 1024 / 1e6, kilobytes["Rss"] * 1024 / 1e6


def cost(pids: Sequence[int], window: float) -> Cost:
    """The cost of ``pids`` over ``window`` seconds from now; each process may be wrong by a tick of 10 ms."""
    before = sum(cpu_seconds(pid) for pid in pids)
    began = time.perf_counter()
    time.sleep(window)
    spent = sum(cpu_seconds(pid) for pid in pids) - before
    percent = 100 * spent / (time.perf_counter() - began)
    memory = [memory_mb(pid) for pid in pids]
    return Cost(percent, sum(pss for pss, _ in memory), sum(rss for _, rss in memory), len(pids))
