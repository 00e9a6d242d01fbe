"""`[workers.NAME]`: real workers under a real supervisor in a real tmux."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from paneview.broker import Broker, NewJob, Result, Target, UnavailableError, open_broker
from tests.cli.support import run
from tests.harness import Sandbox, wait_until
from tests.supervisor.project import Project
from tests.worker.support import FREEZE

Make = Callable[..., Project]
FILE = """
[queue]
heartbeat_interval = 0.2
heartbeat_ttl = 2
respawn_limit = 3
respawn_window = 100

[workers.helper]
role = ["cook", "clean"]
replicas = 2
command = ["sh", "-c", "cat; sleep 0.2"]
"""


@pytest.fixture
def project(sandbox: Sandbox) -> Iterator[Make]:
    made: list[Project] = []

    def make(text: str, files: dict[str, str] | None = None) -> Project:
        made.append(Project(sandbox, text))
        for name, content in (files or {}).items():
            (made[-1].folder / name).write_text(content)
        return made[-1].serve()

    yield make
    for one in made:
        one.close()


def queue_of(project: Project) -> Broker:
    return open_broker("sqlite:", project_dir=project.state_dir)


def live(broker: Broker) -> set[str]:
    return {view.worker.name for view in broker.workers.all(alive_only=True)}


def test_workers_are_tasks_and_take_jobs(project: Make) -> None:
    one = project(FILE)
    with queue_of(one) as broker:
        wait_until(lambda: live(broker) == {"helper.1", "helper.2"})
        task = one.task("helper.1")
        assert (task["state"], task["group"]) == ("running", "workers")
        assert "--role cook --role clean" in task["command"]
        pane = next(v.worker.pane for v in broker.workers.all() if v.worker.name == "helper.1")
        assert pane == task["pane_id"]
        jobs = [
            broker.submit(NewJob("prompt", {"text": "by role"}, Target(role="cook"))).id,
            broker.submit(NewJob("prompt", {"text": "by task"}, Target(task="helper.2"))).id,
            broker.submit(NewJob("prompt", {"text": "by pane"}, Target(task=pane))).id,
        ]
        for job in jobs:
            assert broker.wait_result(job, 20)
        assert broker.need(jobs[1]).result.output == "by task"  # type: ignore[union-attr]
        wait_until(lambda: any("by task" in line for line in one.lines("helper.2")))
        one.call("stop", tasks=["helper.1", "helper.2"])
        assert live(broker) == set()
        assert one.task("helper.1")["state"] == "stopped"


def test_what_a_killed_worker_held_is_done_by_another_at_once(project: Make) -> None:
    one = project(FILE.replace("sleep 0.2", "sleep 1.5"))
    with queue_of(one) as broker:
        wait_until(lambda: live(broker) == {"helper.1", "helper.2"})
        job = broker.submit(NewJob("prompt", {"text": "x"}, timeout=600)).id
        wait_until(lambda: broker.need(job).state == "leased")
        first = broker.need(job).owner
        pid = next(v.worker.pid for v in broker.workers.all() if v.worker.id == first)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: broker.need(job).token == 2)  # its lease would have lasted a minute
        assert broker.need(job).owner != first
        assert broker.need(job).errors[0].error == "its process died"
        wait_until(lambda: live(broker) == {"helper.1", "helper.2"})
        assert broker.wait_result(job, 20).status == "ok"  # type: ignore[union-attr]


def test_a_crash_loop_is_quarantined_until_released(project: Make) -> None:
    one = project(FILE.replace("replicas = 2", 'handlers = ["broken"]').replace("limit = 3", "limit = 2"))
    found = one.wait("helper", "failed", deadline=40)
    assert found["reason"].startswith("quarantined after 2 respawns in 100 s: exit code 1")
    assert one.events("worker_quarantined")
    with queue_of(one) as broker:
        wait_until(lambda: "helper" in broker.workers.quarantined())
        (one.folder / "broken.py").write_text(
            "from paneview.worker import handler\n@handler('x')\ndef x(command): return 1\n"
        )
        own = {"PANEVIEW_BROKER": broker.url}
        done = run("unquarantine", "helper", "--json", cwd=one.folder, env=own)
        assert done.json["results"] == [{"ok": True, "id": "helper", "action": "started"}]
        assert one.events("worker_unquarantined")[0]["actor"] == "user:cli"
        one.wait("helper", "running")
        wait_until(lambda: not broker.workers.quarantined())
        wait_until(lambda: live(broker) == {"helper"})


def test_a_task_that_only_failed_is_not_started_by_a_release(project: Make) -> None:
    one = project(f'{FILE}\n[tasks.web]\ncommand = "exit 1"\nrestart_policy = "no"\n')
    failed = one.wait("web", "failed")
    done = run("unquarantine", "web", "--json", cwd=one.folder)
    assert (done.status, done.json["error"]) == (1, "web is not quarantined")
    assert one.task("web")["run"] == failed["run"]
    other = f"sqlite://{one.folder}/other.db"
    with open_broker(other) as queue:
        queue.workers.quarantine("web", "too often")
        done = run("unquarantine", "web", "--json", cwd=one.folder, env={"PANEVIEW_BROKER": other})
        assert done.json["results"] == [{"ok": True, "id": "web", "action": "released"}]
        assert not queue.workers.quarantined()


def test_a_mark_taken_away_from_elsewhere_releases_it(project: Make) -> None:
    one = project(FILE.replace("replicas = 2", 'handlers = ["broken"]').replace("limit = 3", "limit = 1"))
    one.wait("helper", "failed", deadline=40)
    with queue_of(one) as broker:
        wait_until(lambda: "helper" in broker.workers.quarantined())
        one.kill_supervisor()
        broker.workers.unquarantine("helper")
        (one.folder / "broken.py").write_text(
            "from paneview.worker import handler\n@handler('x')\ndef x(command): return 1\n"
        )
        one.serve()
        one.wait("helper", "running")


def test_a_hung_worker_is_killed_and_comes_back(project: Make) -> None:
    one = project(FILE.replace("replicas = 2", "replicas = 1"))
    with queue_of(one) as broker:
        wait_until(lambda: live(broker) == {"helper.1"})
        first = broker.workers.all()[0].worker
        os.kill(first.pid, signal.SIGSTOP)
        wait_until(lambda: live(broker) == {"helper.1"} and broker.workers.all()[0].worker.id != first.id, 30)
        assert one.events("worker_hung")


def test_one_that_is_stopped_while_it_writes_is_killed_and_nobody_else(project: Make) -> None:
    one = project(
        FILE.replace("[workers.helper]", '[workers.helper]\nhandlers = ["mine"]'), {"mine.py": FREEZE}
    )
    with queue_of(one) as broker:
        wait_until(lambda: live(broker) == {"helper.1", "helper.2"})
        workers = {view.worker.name: view.worker for view in broker.workers.all(alive_only=True)}
        job = broker.submit(NewJob("freeze", broker.url, target=Target(task="helper.1"))).id

        def result() -> Result | None:
            try:
                return broker.wait_result(job, 1)
            except UnavailableError:  # the stopped one still keeps everybody out
                return None

        assert getattr(wait_until(result, 40), "output", None) == 2
        wait_until(lambda: live(broker) == {"helper.1", "helper.2"})
        now = {view.worker.name: view.worker for view in broker.workers.all(alive_only=True)}
        assert now["helper.1"].pid != workers["helper.1"].pid
        assert now["helper.2"] == workers["helper.2"]
        assert broker.need(job).priority == 0
        assert len(one.events("worker_hung")) == 1


def test_a_job_that_ends_its_worker_s_process_costs_no_worker(project: Make) -> None:
    one = project(
        FILE.replace("replicas = 2", 'replicas = 1\nhandlers = ["mine"]'),
        {
            "mine.py": "import os\nfrom paneview.worker import handler\n"
            "@handler('gone')\ndef gone(command): os._exit(0)\n"
        },
    )
    with queue_of(one) as broker:
        wait_until(lambda: live(broker) == {"helper.1"})
        gone = broker.submit(NewJob("gone", max_attempts=1)).id
        wait_until(lambda: broker.need(gone).state == "dead", 30)
        assert broker.need(gone).errors[0].error == "its process died"
        assert broker.wait_result(broker.submit(NewJob("ping")).id, 20).status == "ok"  # type: ignore[union-attr]
        assert one.events("task_exited")[0]["detail"]["exit_code"] == 1
        assert one.task("helper.1")["state"] == "running"


def test_a_shutdown_stays_down(project: Make) -> None:
    one = project(FILE.replace("replicas = 2", "replicas = 1"))
    with queue_of(one) as broker:
        wait_until(lambda: live(broker) == {"helper.1"})
        broker.submit(NewJob("shutdown", target=Target(task="helper.1")))
        one.wait("helper.1", "done")


def test_a_change_of_the_worker_restarts_it(project: Make) -> None:
    one = project(FILE.replace("replicas = 2", "replicas = 1"))
    with queue_of(one) as broker:
        wait_until(lambda: live(broker) == {"helper.1"})
        one.write(FILE.replace("replicas = 2", "replicas = 1").replace('"clean"', '"iron"'))
        wait_until(
            lambda: [v.worker.roles for v in broker.workers.all(alive_only=True)] == [("cook", "iron")]
        )


def test_a_queue_that_is_away_stops_nothing(project: Make) -> None:
    one = project(
        '[queue]\nbroker = "redis://127.0.0.1:1/0"\n[tasks.web]\ncommand = "sleep 1000"\n[workers.helper]\n'
    )
    one.wait("web", "running")
    wait_until(lambda: one.events("queue_lost"))
    one.call("stop", tasks=["web"])
    assert one.task("web")["state"] == "stopped"
    assert one.task("helper")["state"] == "running"
    one.call("stop", tasks=["helper"])
