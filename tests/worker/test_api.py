from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from paneview import AsyncQueue, Queue
from paneview.broker import Target, UnknownJobError

if TYPE_CHECKING:
    from tests.worker.support import Farm


def test_the_seven_verbs(farm: Farm) -> None:
    with Queue(farm.url, hostname="pi-1") as queue:
        job = queue.submit("Check the disk", host="pi-1", metadata={"priority": "high"})
        other = queue.submit("x", host="pi-2")
        anybody = queue.submit(kind="ping")
        assert [one["id"] for one in queue.pending()] == [job, other, anybody]
        assert [one["id"] for one in queue.pending("pi-1")] == [job, anybody]
        assert queue.pending()[0]["payload"] == {"text": "Check the disk"}
        assert queue.status(job) == "pending"
        assert queue.claim(job)
        assert not queue.claim(job)
        assert queue.status(job) == "in_progress"
        assert queue.result(job) is None
        assert queue.submit_result(job, "fine")
        assert not queue.submit_result(job, "again")
        assert (queue.result(job) or {})["output"] == "fine"
        assert queue.status(job) == "completed"
        assert queue.status("nothing") is None
        with pytest.raises(UnknownJobError):
            queue.result("nothing")
        assert queue.clean(days=0) == 1
        assert queue.status(job) is None
        assert queue.claim(other)
    assert farm.broker.need(other).state == "queued"  # handed back when the queue was closed


def test_claude_queue_s_names(farm: Farm) -> None:
    farm.ready("--host", "pi-1", "--command", "cat")
    with Queue(farm.url) as queue:
        job = queue.submit_task("hello", target_host="pi-1", metadata={"a": 1})
        found = queue.get_result(job, wait=True, timeout=20)
        assert found is not None
        assert (found["result"], found["status"], found["completed_by"]) == ("hello", "completed", "pi-1")
        assert queue.get_task_status(job) == "completed"
        assert queue.get_pending_tasks(for_host="pi-1") == []
        assert queue.get_result("nothing") is None


async def test_the_same_on_an_event_loop(farm: Farm) -> None:
    async with AsyncQueue(farm.url) as queue:
        job = await queue.submit("x", role="cook")
        assert [one["target"] for one in await queue.pending()] == ["role:cook"]
        assert await queue.claim(job)
        assert await queue.submit_result(job, None, status="failed", error="no salt")
        assert await queue.status(job) == "pending"  # it is tried again
        assert await queue.result(job, wait=True, timeout=0.1) is None
        assert farm.broker.need(job).errors[0].error == "no salt"
        assert farm.broker.need(job).target == Target(role="cook")


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    code = (
        "import sys, paneview; print(*[m for m in sys.modules if m.startswith('paneview')]); paneview.Queue"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["paneview"]
