"""What concerns the queue is loaded when there is one, and answers as if it had always been there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from paneview.supervisor import desk, queueparts, workflows
from tests.supervisor.project import Project
from tests.supervisor.test_queue_requests import listening

LOADED = "import sys, paneview.supervisor.serve; print(*sys.modules)"
LATER = ("paneview.broker", "paneview.worker", "paneview.workflow", "paneview.agents", "psutil", "textual")


def test_a_supervisor_starts_without_what_only_a_queue_needs() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.split() if name.startswith(LATER)] == []


def test_every_request_of_the_parts_is_known_before_they_are_loaded() -> None:
    assert set(desk.HANDLERS) == queueparts.QUEUE_REQUESTS
    assert set(workflows.HANDLERS) == queueparts.WORKFLOW_REQUESTS


def test_a_queue_that_comes_into_use_later_is_looked_after(project: Callable[[str], Project]) -> None:
    ours = project('[tasks.web]\ncommand = "exec sleep 1000"\n').serve()
    assert ours.call("status")["queue"] is None
    with listening(ours) as heard:
        assert heard(lambda queue: not queue["in_use"])["waiting"] == 0
        ours.call("job_dispatch", target="role:cook", kind="ping", payload={})
        assert heard(lambda queue: queue["in_use"])["waiting"] == 1
    assert ours.call("status")["queue"]["waiting"] == 1
    assert ours.call("workflows")["count"] == 0
