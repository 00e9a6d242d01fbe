"""A process that forks ingests to be killed: ``python -m tests.store.nursery LOGS_DB SPOOL``.

For each line on standard input a child is forked that runs a `LogIngest` with run 1 attached until it is killed; its
pid is printed. Forking takes a millisecond where starting Python takes a hundred.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from paneview.store.ingest import LogIngest
from tests.store.helpers import EVERYTHING


def main() -> None:
    """Fork, say who, reap."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            ingest = LogIngest(Path(sys.argv[1]), Path(sys.argv[2]))
            ingest.start()
            ingest.attach(1, "task", EVERYTHING)
            if line.strip() == "note":
                ingest.append(1, "task", b"note\n")
            signal.pause()
        print(pid, flush=True)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
