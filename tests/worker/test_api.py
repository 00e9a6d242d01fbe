from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from paneview import AsyncQueue, Queue
from paneview.broker import (
    BrokerError,
    NewJob,
    Registration,
    Target,
    UnavailableError,
    UnknownJobError,
    open_broker,
)
from paneview.worker.views import what_of
from tests.broker.servers import redis_server
from tests.harness import wait_until

if TYPE_CHECKING:
    from pathlib import Path

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


def test_a_kind_of_one_s_own_goes_to_a_worker_that_has_a_handler_for_it(farm: Farm) -> None:
    with Queue(farm.url) as queue:
        queue.broker.workers.register(Registration("1", "plain", meta={"kinds": ["ping", "prompt"]}))
        with pytest.raises(BrokerError, match="has a handler for 'resize'"):
            queue.submit(kind="resize")
        queue.broker.workers.register(Registration("2", "able", meta={"kinds": ["ping", "prompt", "resize"]}))
        job, anyone = queue.submit(kind="resize", payload={"width": 5}), queue.submit("a prompt")
        assert queue.broker.need(job).target == Target(worker="2")
        assert queue.broker.need(anyone).target == Target()


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


def test_claude_queue_s_shapes(farm: Farm) -> None:
    with Queue(farm.url, hostname="pi-1") as queue:
        before = datetime.now().replace(microsecond=0)  # noqa: DTZ005 - as claude-queue writes times
        job = queue.submit_task("Check the disk", "pi-2", {"priority": "high"})
        other = queue.submit_task("x")
        queue.submit("not one of theirs", role="cook")
        queue.submit(kind="ping")
        task, _ = queue.get_pending_tasks()
        assert before <= datetime.fromisoformat(task.pop("timestamp")) < before + timedelta(minutes=1)
        assert task == {
            "id": job, "command": "Check the disk", "from_host": "pi-1", "target_host": "pi-2", "status": "pending",
            "metadata": {"priority": "high"},
        }  # fmt: skip
        (task,) = queue.get_pending_tasks(for_host="pi-1")
        assert (task["id"], task["target_host"]) == (other, None)
        assert queue.claim_task(job)
        assert queue.claim_task(other)
        assert not queue.claim_task("nothing")
        assert queue.submit_result(job, "res", "failed", "no disk")
        assert queue.submit_result(other, "fine")
        assert queue.get_task_status(job) == "failed"  # and stays it: claude-queue tries nothing again
        found = queue.get_result(job, wait=True, timeout=5)
        assert found
        assert before <= datetime.fromisoformat(found.pop("completed_at")) < before + timedelta(minutes=1)
        assert found == {
            "task_id": job, "result": "res", "status": "failed", "error": "no disk", "completed_by": "pi-1",
        }  # fmt: skip
        assert (queue.get_result(other) or {})["completed_by"] == "pi-1"


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


async def test_a_claim_that_nobody_waits_for_any_more_is_handed_back(farm: Farm) -> None:
    async with AsyncQueue(farm.url) as queue:
        job = await queue.submit("x")
        with closing(sqlite3.connect(farm.folder / "queue.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(queue.claim(job), 0.05)
            other.execute("ROLLBACK")
        await asyncio.to_thread(wait_until, lambda: farm.broker.need(job).token == 1)
        await asyncio.to_thread(wait_until, lambda: farm.broker.need(job).state == "queued")
        assert await queue.claim(job)


def test_a_queue_that_is_away_for_a_while_loses_no_job_and_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paneview.broker.redis.opening.PATIENCE", 0.2)
    monkeypatch.setenv("PANEVIEW_LEASE", "6")
    with redis_server() as server, Queue(f"redis://127.0.0.1:{server.port}") as queue:
        done, still = queue.submit("a"), queue.submit("b")
        assert queue.claim(done)
        assert queue.claim(still)
        server.kill()
        with pytest.raises(UnavailableError):
            queue.submit_result(done, "fine")
        until = time.time() + 3.0  # a renewal is due in this time
        wait_until(lambda: time.time() > until)
        server.start()
        assert queue.submit_result(done, "fine")
        after = time.time() + 4.0
        wait_until(lambda: (queue.broker.need(still).lease_until or 0.0) > after)
        assert queue.broker.need(still).token == 1
        assert queue.submit_result(still, "fine")


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    code = (
        "import sys, paneview; print(*[m for m in sys.modules if m.startswith('paneview')]); paneview.Queue"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["paneview"]


@pytest.mark.parametrize(
    ("kind", "payload", "what"),
    [
        ("prompt", {"text": "soup"}, "soup"),
        ("phase", {"workflow": "default-1", "phase": "plan", "prompt": "…"}, "plan of default-1"),
        ("phase", {"prompt": "…"}, '{"prompt": "…"}'),
        ("ping", None, ""),
    ],
)
def test_what_a_job_is_about_is_told_in_a_line(tmp_path: Path, kind: str, payload: Any, what: str) -> None:
    with open_broker("sqlite:", project_dir=tmp_path) as broker:
        made = broker.submit(NewJob(kind, payload))
        assert what_of(broker.need(made.id)) == what
