"""The other side of a queue's measurements: ``python -m tests.bench.queue_loop URL WHAT NUMBER``; prints JSON.

All clocks are the machine's monotonic one, which its processes share.
"""

from __future__ import annotations

import json
import signal
import sys
import time
import uuid
from typing import Any

from paneview.broker import Broker, Claim, NewJob, Outcome, Settings, lanes_of, open_broker

UNLIMITED = Settings(max_depth=None)


def want(**fields: Any) -> Claim:
    """What a worker with a role and a host takes from: six lanes."""
    owner = f"w-{uuid.uuid4().hex}"
    return Claim(owner, lanes_of(owner, ["bench"], "host", ["task"]), **fields)


def latency(broker: Broker, number: int) -> list[float]:
    """Milliseconds from each job's payload, the time of its submission, to here."""
    mine = want()
    found: list[float] = []
    while len(found) < number:
        for lease in broker.claim(mine, wait=30.0):
            found.append(1000 * (time.monotonic() - lease.job.payload))
            broker.finish(lease, Outcome())
    return found


def drain(broker: Broker, number: int) -> dict[str, float]:
    """Do what is there, each result together with the next claim; when it began and ended, how many."""
    mine = want(n=number)
    sys.stdin.readline()
    began = time.monotonic()
    leases = list(broker.claim(mine))
    done = 0
    while leases:
        leases += broker.finish(leases.pop(0), Outcome(), claim=mine if not leases else None).leases
        done += 1
    return {"began": began, "ended": time.monotonic(), "done": done}


def hold(broker: Broker, number: int) -> None:
    """Take a job and sit on it."""
    broker.claim(want(seconds=number), wait=30.0)
    print(json.dumps("held"), flush=True)
    signal.pause()


def look(broker: Broker, number: int) -> list[float]:
    """Microseconds of a claim, with as many jobs as there are."""
    mine = want()
    found = []
    for _ in range(number):
        began = time.perf_counter()
        leases = broker.claim(mine)
        found.append(1e6 * (time.perf_counter() - began))
        broker.finish(leases[0], Outcome(), follow_ups=[NewJob("bench", "x" * 200)])
    return found


def main() -> None:
    """Do what is asked, print what came of it."""
    url, what, number = sys.argv[1:]
    with open_broker(url, settings=UNLIMITED) as broker:
        print(json.dumps("ready"), flush=True)
        told = {"latency": latency, "drain": drain, "hold": hold, "look": look}[what](broker, int(number))
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
