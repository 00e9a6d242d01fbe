"""Claims in a process of their own: ``python -m tests.bench.queue_loop URL NUMBER`` prints the µs of each as JSON."""

from __future__ import annotations

import json
import sys
import time
import uuid

from paneview.broker import Claim, NewJob, Outcome, lanes_of, open_broker
from tests.bench.queue_staff import UNLIMITED


def main() -> None:
    """Claim from six lanes, like a worker with a role and a host; the number of jobs stays the same."""
    url, number = sys.argv[1], int(sys.argv[2])
    owner = f"w-{uuid.uuid4().hex}"
    mine = Claim(owner, lanes_of(owner, ["bench"], "host", ["task"]))
    found = []
    with open_broker(url, settings=UNLIMITED) as broker:
        for _ in range(number):
            began = time.perf_counter()
            leases = broker.claim(mine)
            found.append(1e6 * (time.perf_counter() - began))
            broker.finish(leases[0], Outcome(), follow_ups=[NewJob("bench", "x" * 200)])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
