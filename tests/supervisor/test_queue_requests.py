"""Clients' requests about the queue through the supervisor, and the pushes they get."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paneview.broker import Broker, Claim, NewJob, Outcome, Registration, Target, open_broker
from paneview.config import paths
from paneview.config.load import load_project
from paneview.control.blocking import Connection
from paneview.control.errors import ControlError
from paneview.supervisor.queue.cache import DEAD, QueueCache
from paneview.supervisor.queue.desk import QueueDesk
from tests.harness import wait_until
from tests.supervisor.project import Project

Make = Callable[[str], Project]
QUEUE = '[tasks.web]\ncommand = "exec sleep 1000"\n[queue]\nmax_attempts = 1\nmax_queue_depth = 300\n'


@pytest.fixture
def served(project: Make) -> Project:
    return project(QUEUE).serve()


@contextmanager
def queue_of(project: Project) -> Iterator[Broker]:
    with open_broker("sqlite:", project_dir=project.state_dir) as broker:
        yield broker


@contextmanager
def listening(project: Project) -> Iterator[Callable[[Callable[[dict[str, Any]], object]], dict[str, Any]]]:
    """Subscribe to the queue; yields a function that waits for a push for which a condition holds."""
    with Connection(str(paths.control_socket(project.state_dir)), timeout=20) as connection:
        connection.call("subscribe", {"topics": ["queue"]})
        pushes = connection.pushes()

        def wait_for(check: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
            seen = None
            end = time.monotonic() + 20
            while time.monotonic() < end:
                seen = next(pushes)["queue"]
                if check(seen):
                    return seen
            raise AssertionError(f"never heard; last: {seen}")

        yield wait_for


def fail_one(broker: Broker, job: str) -> None:
    (lease,) = broker.claim(Claim("tester", ("any", "r:cook")))
    assert lease.id == job
    broker.finish(lease, Outcome("error", error="it burnt", retry=False))


def test_a_job_from_dispatch_to_purge(served: Project) -> None:
    sent = served.call(
        "job_dispatch", target="role:cook", kind="prompt", payload={"text": "soup"}, priority=3
    )
    assert (sent["created"], sent["target"]) == (True, "role:cook")
    whole = served.call("queue")
    assert [(lane["target"], lane["depth"], lane["leased"]) for lane in whole["lanes"]] == [
        ("role:cook", 1, 0)
    ]
    assert (whole["in_use"], whole["problem"], whole["waiting"]) == (True, None, 1)
    (brief,) = served.call("jobs", states=["queued"], target="role:cook")["jobs"]
    assert (brief["id"], brief["what"], brief["priority"]) == (sent["id"], "soup", 3)
    assert "payload" not in brief
    with queue_of(served) as broker:
        fail_one(broker, sent["id"])
    whole = served.call("job", job=sent["id"])["job"]
    assert (whole["state"], whole["payload"], whole["errors"][0]["error"]) == (
        "dead",
        {"text": "soup"},
        "it burnt",
    )
    assert served.call("queue")["dead"] == 1
    assert served.call("job_retry")["results"] == [{"ok": True, "id": sent["id"], "action": "retried"}]
    assert served.call("job_cancel", jobs=[sent["id"]])["results"][0]["action"] == "cancelled"
    with pytest.raises(ControlError, match="was over") as refused:
        served.call("job_cancel", jobs=[sent["id"]])
    assert refused.value.extra["results"][0]["ok"] is False
    with queue_of(served) as broker:
        broker.workers.register(Registration("w", "cook", "here", roles=("cook",), meta={"kinds": ["ping"]}))
    with pytest.raises(
        ControlError, match="nobody alive that takes jobs for role:cook has a handler for 'knit'"
    ):
        served.call("job_dispatch", target="role:cook", kind="knit")
    assert served.call("job_purge")["results"] == []
    with pytest.raises(ControlError, match="not a dead letter"):
        served.call("job_purge", jobs=[sent["id"]])
    told = {event["event"]: event for event in served.events()}
    assert {"job_dispatched", "job_retried", "job_cancelled"} <= told.keys()
    assert told["job_dispatched"]["actor"] == "user:cli"


def test_pages_and_what_cannot_be_asked(served: Project) -> None:
    with queue_of(served) as broker:
        ids = [one.id for one in broker.submit_many([NewJob("ping", n, priority=-n) for n in range(45)])]
    seen: list[str] = []
    while True:
        page = served.call("jobs", limit=20, offset=len(seen))
        seen += [job["id"] for job in page["jobs"]]
        if not page["more"]:
            break
    assert seen == ids[::-1]
    for do, args, words in (
        ("jobs", {"states": ["lost"]}, "the states are"),
        ("job", {"job": "nothing"}, "there is no job"),
        ("job_dispatch", {"target": "role:a b", "kind": "ping"}, "holds a space"),
        ("job_dispatch", {"target": "any", "kind": ""}, "needs a kind"),
        ("unquarantine", {"names": ["web"]}, "web is not quarantined"),
    ):
        with pytest.raises(ControlError, match=words):
            served.call(do, **args)


def test_who_listens_hears_of_every_change_whoever_made_it(served: Project) -> None:
    with listening(served) as wait_for, listening(served) as other, queue_of(served) as broker:
        first = wait_for(lambda queue: queue["in_use"])
        job = broker.submit(NewJob("ping", target=Target(host="elsewhere"))).id
        heard = wait_for(lambda queue: queue["waiting"] == 1)
        assert heard["changes"] > first["changes"]
        other(lambda queue: [lane["target"] for lane in queue["lanes"]] == ["host:elsewhere"])
        # The same request by several clients is passed to the queue once, until something happens in it.
        assert [served.call("jobs")["jobs"][0]["id"] for _ in range(3)] == [job] * 3
        served.call("job_cancel", jobs=[job])
        wait_for(lambda queue: queue["waiting"] == 0)
        assert served.call("jobs")["jobs"][0]["state"] == "cancelled"
        other(lambda queue: queue["lanes"] == [])


async def test_pages_are_kept_only_while_somebody_hears_of_every_change(tmp_path: Path) -> None:
    (tmp_path / "paneview.toml").write_text(QUEUE)
    supervisor = SimpleNamespace(project=load_project(tmp_path / "paneview.toml", {}))
    desk = QueueDesk(supervisor, None, tmp_path, print, lambda: None)  # type: ignore[arg-type]
    for watched in (False, True):
        with desk.cache.watching() if watched else nullcontext():
            for limit in (1, 2):
                args = {"states": None, "target": None, "kind": None, "limit": limit, "offset": 0}
                assert (await desk.jobs(args, None))["count"] == 0  # type: ignore[arg-type]
            assert len(desk.cache._answers) == (2 if watched else 0)
            desk.cache.changed()
            assert not desk.cache._answers
    await desk.close()


def test_only_a_change_of_dead_letters_makes_their_count_old() -> None:
    cache = QueueCache()
    with cache.watching():
        cache.keep("page", {}, cache.changes)
        cache.keep(DEAD, 3, cache.changes)
        cache.keep("late", {}, cache.changes - 1)
        assert [cache.get(question) for question in ("page", DEAD, "late")] == [{}, 3, None]
        cache.changed(dead=False)
        assert [cache.get(question) for question in ("page", DEAD)] == [None, 3]
        cache.changed()
        assert cache.get(DEAD) is None
        cache.keep(DEAD, 3, cache.changes)
    assert cache.get(DEAD) is None


def test_a_project_without_a_queue_gets_one_with_its_first_job(project: Make) -> None:
    one = project('[tasks.web]\ncommand = "exec sleep 1000"\n').serve()
    assert one.call("status")["queue"] is None
    assert one.call("queue")["in_use"] is False
    assert one.call("jobs")["jobs"] == []
    assert not (one.state_dir / "queue.db").exists()
    with listening(one) as wait_for, listening(one) as other:
        # Each gets one push at first, then only changes.
        assert not wait_for(lambda _queue: True)["in_use"]
        assert not other(lambda _queue: True)["in_use"]
        one.call("job_dispatch", target="any", kind="ping")
        assert other(lambda queue: queue["in_use"])["waiting"] == 1
    assert one.call("status")["queue"]["waiting"] == 1


def test_a_queue_that_is_away_is_told_and_holds_nobody_up(project: Make) -> None:
    one = project(QUEUE.replace("[queue]", '[queue]\nbroker = "redis://u:secret@127.0.0.1:1/0"')).serve()
    with listening(one) as wait_for:
        heard = wait_for(lambda queue: queue["problem"])
        assert "does not answer" in heard["problem"]
        assert "secret" not in str(heard)
        wait_until(lambda: one.events("queue_lost"))
        one.call("stop", tasks=["web"])
        summary = one.call("status")["queue"]
        assert (summary["waiting"], "does not answer" in summary["problem"]) == (0, True)
    with pytest.raises(ControlError, match="does not answer") as refused:
        one.call("job_dispatch", target="any", kind="ping")
    assert refused.value.code == "queue"


def test_a_damaged_queue_is_told_also_by_who_holds_it(served: Project) -> None:
    with queue_of(served) as broker:
        broker.submit_many([NewJob("ping", target=Target(role="cook")) for _ in range(20)])
        wait_until(lambda: served.call("status")["queue"]["waiting"] == 20)
        for name, size in (("queue.db", 12_288), ("queue.db-wal", 20_480)):
            with (served.state_dir / name).open("r+b") as file:
                file.write(os.urandom(size))
        damaged = "queue.db cannot be used: "  # then SQLite's reason: malformed, or not a database at all
        assert damaged in wait_until(lambda: served.call("queue")["problem"])
        with listening(served) as wait_for:
            assert damaged in wait_for(lambda queue: queue["problem"])["problem"]
        (told,) = wait_until(lambda: served.events("queue_lost"))
        assert damaged in str(told)
        assert damaged in served.call("status")["queue"]["problem"]
        for file in served.state_dir.glob("queue.db*"):
            if file.is_file():
                file.unlink()
        wait_until(lambda: served.events("queue_restored"))
        wait_until(lambda: served.call("status")["queue"]["problem"] is None)
        served.call("job_dispatch", target="any", kind="ping")
        assert served.call("status")["queue"]["waiting"] == 1


def test_a_quarantined_worker_is_released(project: Make) -> None:
    one = project("[queue]\nrespawn_limit = 1\n[workers.cook]\nhandlers = ['broken']\n").serve()
    one.wait("cook", "failed", deadline=40)
    assert one.task("cook")["max_restarts"] is None
    wait_until(lambda: "cook" in one.call("status")["queue"]["quarantined"])
    (one.folder / "broken.py").write_text(
        "from paneview.worker import handler\n@handler('stew')\ndef stew(command): return 1\n"
    )
    assert one.call("unquarantine", names=["cook"])["results"] == [
        {"ok": True, "id": "cook", "action": "started"}
    ]
    one.wait("cook", "running")
    (worker,) = wait_until(lambda: one.call("queue")["workers"])
    assert (worker["name"], worker["quarantined"]) == ("cook", False)
    assert "stew" in worker["kinds"]
    wait_until(lambda: one.call("status")["queue"]["quarantined"] == {})
    with queue_of(one) as broker:
        kinds = [event.kind for event in broker.events.tail(100).events]
        assert {"pane_respawned", "worker_quarantined", "worker_unquarantined"} <= set(kinds)
