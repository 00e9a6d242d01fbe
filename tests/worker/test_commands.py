"""The queue's commands from outside, as a person or a script uses them."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from paneview.broker import Claim, Outcome, Registration, Target
from paneview.cli.queue.shapes import QUEUE_SHAPES, Fates, Jobs, ResultShape, WorkerEvent
from paneview.cli.shapes import SHAPES
from tests import prepared
from tests.cli.support import check_shape, environment, run
from tests.harness import Sandbox, wait_until
from tests.worker.support import farm_in, told

if TYPE_CHECKING:
    from tests.worker.support import Farm


def ask(farm: Farm, *args: str, shape: Any = None) -> dict[str, Any]:
    """Run a command with --json; its object, held against the documented shape."""
    done = farm.cli(*args, "--json")
    assert done.status == 0, done.out + done.err
    found = done.json
    check_shape(shape or QUEUE_SHAPES[args[0]], found)
    return found


def test_submit_and_result(farm: Farm) -> None:
    job = ask(farm, "submit", "--role", "cook", "--meta", "a=1", "--meta", "b=x=y", "make", "soup")["id"]
    late = farm.cli("result", job, "--wait", "--timeout", "100ms", "--json")
    assert (late.status, late.json["code"], late.json["state"]) == (1, "pending", "queued")
    farm.ready("--role", "cook", "--command", "cat")
    found = ask(farm, "result", job, "--wait", "--timeout", "20s")
    assert found["result"]["output"] == "make soup"
    assert farm.cli("result", job).out == "make soup\n"
    whole = ask(farm, "job", job)["job"]
    assert (whole["meta"], whole["target"], whole["status"]) == (
        {"a": "1", "b": "x=y"},
        "role:cook",
        "completed",
    )
    waited = farm.cli("submit", "--role", "cook", "--wait", "--json", "--", "-x")
    check_shape(ResultShape, waited.json)
    assert waited.json["result"]["output"] == "-x"
    assert [one["id"] for one in ask(farm, "jobs", "--role", "cook", "--state", "completed")["jobs"]][
        1
    ] == job
    assert farm.cli("jobs", "--kind", "knit").out == "no jobs\n"
    assert farm.cli("jobs", "--state", "lost").status == 2


def test_dispatch_to_whom_and_how(farm: Farm) -> None:
    one = ask(
        farm, "dispatch", "%3", "ping", "--priority", "5", "--timeout", "5m", "--key", "k", "--attempts", "1"
    )
    again = ask(farm, "dispatch", "any", "ping", "--key", "k")
    assert (one["created"], again["created"], again["id"]) == (True, False, one["id"])
    job = farm.broker.need(one["id"])
    assert (job.target, job.priority, job.timeout, job.max_attempts) == (Target(task="%3"), 5, 300.0, 1)
    targets = {
        "role:r": Target(role="r"),
        "role:r@h": Target(role="r", host="h"),
        "host:h": Target(host="h"),
        "web.1": Target(task="web.1"),
        "worker:abc": Target(worker="abc"),
        "any": Target(),
    }
    for text, target in targets.items():
        found = ask(farm, "dispatch", text, "prompt", "--payload", '{"text": "x"}', "--delay", "1h")
        job = farm.broker.need(found["id"])
        assert (job.target, job.state.value, found["target"]) == (target, "delayed", text)
    for wrong in ("{", "NaN", '{"n": [1e999]}', "[" * 5000):
        assert farm.cli("dispatch", "any", "ping", "--payload", wrong).status == 2, wrong[:20]
    assert farm.cli("dispatch", "any", "ping", "--timeout", "soon").status == 2
    assert farm.cli("dispatch", "role:a b", "ping", "--json").json["code"] == "queue"


def test_a_bare_timeout_of_dispatch_is_milliseconds(farm: Farm) -> None:
    """As PaneBus has it; that of submit is seconds, as everywhere else."""
    farm.ready("--role", "idle")
    for verb, target in (("dispatch", ("any",)), ("dispatch-role", ("idle",)), ("broadcast", ())):
        for text, wanted in (("300000", 300.0), ("90s", 90.0), ("1500", 1.5), ("2m", 120.0)):
            found = ask(farm, verb, *target, "ping", "--timeout", text)
            id_ = found["id"] if "id" in found else found["jobs"][0]["id"]
            assert farm.broker.need(id_).timeout == wanted, (verb, text)
    id_ = ask(farm, "submit", "--timeout", "90", "x")["id"]
    assert farm.broker.need(id_).timeout == 90.0
    assert "milliseconds" in farm.cli("dispatch", "--help").out


def test_a_job_that_nobody_takes_now_is_told_as_one(farm: Farm) -> None:
    done = farm.cli("dispatch", "role:cook", "ping")
    assert (done.status, done.out.split()[1:]) == (0, ["ping", "for", "role:cook"])
    assert "nobody alive takes jobs for role:cook" in done.err
    farm.ready("--role", "cook", "--name", "chef.1")
    assert "for chef (there is chef.1): it waits" in farm.cli("dispatch", "chef", "ping").err
    for target in ("role:cook", "chef.1", "any"):
        assert farm.cli("dispatch", target, "ping").err == ""
    id_ = ask(farm, "dispatch", "role:baker", "ping")["id"]
    assert farm.cli("cancel", id_).status == 0
    assert farm.cli("cancel", id_).err == f"paneview: {id_} was over\n"
    assert farm.cli("dispatch", "chef.1", "shutdown").err == "", "it was there to take it"


def test_a_job_goes_to_a_worker_that_has_a_handler_for_it(farm: Farm) -> None:
    for name, role, kinds in (("plain", "cook", ["ping"]), ("knitter", "tailor", ["ping", "knit"])):
        farm.broker.workers.register(Registration(name, name, "here", roles=(role,), meta={"kinds": kinds}))
    assert ask(farm, "dispatch", "any", "ping")["target"] == "any", "either can do it"
    assert ask(farm, "dispatch", "any", "knit")["target"] == "worker:knitter"
    assert ask(farm, "dispatch", "any", "knit", "--delay", "1h")["target"] == "any"
    assert ask(farm, "dispatch", "role:knitwear", "knit")["target"] == "role:knitwear"
    assert [one["name"] for one in ask(farm, "broadcast", "knit")["jobs"]] == ["knitter"]
    for words in (("dispatch", "plain"), ("dispatch", "role:cook"), ("dispatch-role", "cook")):
        refused = farm.cli(*words, "knit", "--json")
        assert (refused.status, "a handler for 'knit'" in refused.json["error"]) == (1, True), words
    # One that names no kinds decides for itself.
    farm.broker.workers.register(Registration("own", "own", "here", roles=("cook",)))
    assert ask(farm, "dispatch", "role:cook", "knit")["target"] == "worker:own"


def test_to_every_worker(farm: Farm) -> None:
    assert farm.cli("broadcast", "ping", "--json").json["code"] == "not_found"
    farm.ready("--role", "a", "--name", "one")
    farm.ready("--role", "a", "--role", "b", "--name", "two")
    sent = ask(farm, "dispatch-role", "b", "ping")["jobs"]
    assert [one["name"] for one in sent] == ["two"]
    sent = ask(farm, "broadcast", "ping", "--key", "k")["jobs"]
    assert {one["name"] for one in sent} == {"one", "two"}
    for one in sent:
        assert farm.over(one["id"]).result.output["worker"] == one["name"]  # type: ignore[union-attr]
    assert not any(one["created"] for one in ask(farm, "broadcast", "ping", "--key", "k")["jobs"])
    listed = ask(farm, "workers", "--role", "b")["workers"]
    assert [(one["name"], one["alive"], one["roles"]) for one in listed] == [("two", True, ["a", "b"])]
    assert ask(farm, "panes", shape=QUEUE_SHAPES["workers"])["count"] == 2
    assert ask(farm, "hosts")["hosts"][0]["roles"] == ["a", "b"]
    for job in ask(farm, "broadcast", "shutdown")["jobs"]:
        farm.over(job["id"])
    assert [process.wait(20) for process in farm.processes] == [0, 0]


def test_cancel_and_dead_letters(farm: Farm) -> None:
    jobs = [farm.submit("nope") for _ in range(3)]
    done = farm.cli("cancel", jobs[0], "nothing", "--json")
    assert done.status == 1
    assert [one["action"] for one in done.json["results"]] == ["cancelled", "unknown"]
    farm.worker("--once").wait(20)
    farm.worker("--once").wait(20)
    listed = ask(farm, "dlq", "list", shape=Jobs)["jobs"]
    assert [one["id"] for one in listed] == jobs[:0:-1]
    shown = ask(farm, "dlq", "show", jobs[1], shape=Jobs)["jobs"][0]
    assert "no handler" in shown["errors"][0]["error"]
    assert farm.cli("dlq", "retry").status == 2
    assert ask(farm, "dlq", "retry", jobs[1], shape=Fates)["results"][0]["action"] == "retried"
    assert farm.broker.need(jobs[1]).state == "queued"
    assert ask(farm, "dlq", "purge", "--all", shape=Fates)["results"][0]["id"] == jobs[2]
    assert ask(farm, "dlq", shape=Jobs)["jobs"] == []
    failed = farm.cli("result", jobs[0])
    assert (failed.status, failed.out, failed.err) == (
        1,
        "",
        f"paneview: {jobs[0]} was cancelled: cancelled\n",
    )


def test_a_dead_letter_for_a_worker_that_is_long_gone_stays(farm: Farm) -> None:
    """Nobody is known who takes its jobs over; queued again, it would wait for ever."""
    jobs = [farm.submit(target=Target(worker=name), max_attempts=1) for name in ("here", "gone")]
    farm.broker.workers.register(Registration("here", "cook", "pi"))
    for lease in farm.broker.claim(Claim("x", ("w:here", "w:gone"), n=2)):
        farm.broker.finish(lease, Outcome("error", error="x"))
    for which in (("--all",), jobs):
        tried = farm.cli("dlq", "retry", *which, "--json")
        results = {one["id"]: (one["action"], one.get("error")) for one in tried.json["results"]}
        why = f"{jobs[1]} was for the worker gone alone, which is long gone"
        assert (tried.status, results[jobs[1]]) == (1, ("none", why))
        assert results[jobs[0]][0] == ("retried" if which == ("--all",) else "none")
    assert [farm.broker.need(job).state.value for job in jobs] == ["queued", "dead"]


def test_what_fails_is_told_on_standard_error(farm: Farm) -> None:
    job = farm.submit()
    partly = farm.cli("cancel", job, "nothing")
    assert (partly.status, partly.out, partly.err) == (
        1, f"{job}: cancelled\n", "paneview: there is no job nothing\n",
    )  # fmt: skip
    released = farm.cli("unquarantine", "nobody")
    assert (released.status, released.out, released.err) == (1, "", "paneview: nobody is not quarantined\n")


def test_the_queue_itself(farm: Farm) -> None:
    farm.submit(target=Target(role="a"))
    job = farm.submit()
    farm.worker("--once").wait(20)
    lanes = ask(farm, "queue")["lanes"]
    assert [(lane["target"], lane["queued"]) for lane in lanes] == [("role:a", 1)]
    assert farm.cli("queue", "clean", "--older-than", "1d", "--json").json["count"] == 0
    assert farm.cli("queue", "clean", "--older-than", "1ms", "--json").json["count"] == 1
    assert farm.cli("job", job, "--json").json == {
        "ok": False,
        "error": f"there is no job {job}",
        "code": "queue",
    }


def test_people_are_told_that_a_job_runs_and_programs_that_it_is_leased(farm: Farm) -> None:
    job = farm.submit(target=Target(role="a"))
    assert farm.broker.take(job, Claim("w1", ()))
    assert "RUNNING" in farm.cli("queue").out
    assert f"{job}  ping  running" in farm.cli("jobs", "--state", "running").out
    assert "state:          running\n" in farm.cli("job", job).out
    assert "is not over: running" in farm.cli("result", job).err
    assert [one["state"] for one in ask(farm, "jobs", "--state", "leased")["jobs"]] == ["leased"]
    assert ask(farm, "queue")["lanes"][0]["leased"] == 1


def test_a_full_queue_refuses(farm: Farm) -> None:
    full = [farm.cli("dispatch", "any", "ping", "--json", PANEVIEW_MAX_QUEUE_DEPTH="2") for _ in range(3)]
    assert [done.status for done in full] == [0, 0, 1]
    assert "is full: 2 jobs wait" in full[2].json["error"]


def test_what_cannot_be_is_bad_usage(farm: Farm) -> None:
    wrong = {
        ("dispatch", "role:", "ping"): "the name after role: has 0 characters",
        ("dispatch", "role:@here", "ping"): "a role has 0 characters",
        ("dispatch", "role:dev@", "ping"): "a host has 0 characters",
        ("dispatch", "", "ping"): "a target has 0 characters",
        ("submit", "--role", "", "hello"): "a role has 0 characters",
        ("dispatch", "any", "ping", "--priority", "5000"): "priority 5000 is not between -999 and 999",
        ("jobs", "--broker", "nonsense://here"): "no broker is called 'nonsense'",
    }
    for words, error in wrong.items():
        done = farm.cli(*words, "--json")
        assert done.status == 2, words
        assert error in done.json["error"]
        assert done.json["code"] == "queue"
    assert farm.broker.stats() == [], "an empty name is not anybody"


def test_a_full_target_is_named_as_it_was_written(farm: Farm) -> None:
    for target, name in (("role:dev", "role:dev"), ("host:here", "host:here"), ("api", "api")):
        full = [farm.cli("dispatch", target, "ping", PANEVIEW_MAX_QUEUE_DEPTH="1") for _ in range(2)]
        assert [done.status for done in full] == [0, 1]
        assert f"the queue {name} is full: 1 job waits in it already (limit 1)" in full[1].err


def test_events_of_the_queue(farm: Farm) -> None:
    job = farm.submit("nope")
    farm.worker("--once").wait(20)
    found = farm.cli("events", "--queue", "--json").json["events"]
    assert next(one["event"] for one in found if one["job"] == job) == "job_submitted"
    assert {"worker_started", "worker_stopped"} <= {one["event"] for one in found}
    only = farm.cli("events", "--queue", "--kind", "worker_started", "--json", "--count", "1").json
    assert only["count"] == 1
    assert farm.cli("events", "--queue").out.count("\n") == len(found)


def test_who_follows_the_events_or_waits_for_a_result_waits_for_a_queue_that_is_away(
    sandbox: Sandbox,
) -> None:
    folder = sandbox.root / "share"
    with (
        farm_in(sandbox.root / "farm", url=f"dir://{folder}") as farm,
        (farm.folder / "out").open("w+") as out,
    ):
        farm.processes.append(
            prepared.start("events", "--queue", "-f", cwd=farm.folder, env=environment(farm.env), out=out)
        )

        def said(text: str) -> bool:
            return text in (farm.folder / "out").read_text()

        first = farm.submit()
        wait_until(lambda: said(first))
        waiting = farm.folder / "waiting"
        with waiting.open("w") as to:
            submit = ("submit", "--role", "cook", "--wait", "soup")
            farm.processes.append(prepared.start(*submit, cwd=farm.folder, env=environment(farm.env), out=to))
        wait_until(lambda: "; waiting" in waiting.read_text())
        folder.rename(sandbox.root / "away")
        wait_until(lambda: said("is not there: is it mounted?; waiting for it\n"))
        wait_until(lambda: "; waiting for it\n" in waiting.read_text())
        (sandbox.root / "away").rename(folder)
        second = farm.submit()
        wait_until(lambda: said("! the queue answers again\n"))
        wait_until(lambda: said(second))
        assert (farm.folder / "out").read_text().count(first) == 1
        (lease,) = farm.broker.claim(Claim("me", ("r:cook",)), wait=20)
        farm.broker.finish(lease, Outcome(output="fine"))
        assert farm.processes[-1].wait(20) == 0
        assert waiting.read_text().endswith("the queue answers again\nfine\n")


def test_what_a_worker_prints_has_a_shape(farm: Farm) -> None:
    farm.submit("prompt", {"text": "hello"})
    process = farm.worker("--once", "--command", "cat")
    process.wait(20)
    lines = told(farm.said(process))
    assert [line["event"] for line in lines] == ["ready", "started", "output", "done", "ended"]
    for line in lines:
        check_shape(WorkerEvent, line)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("what", ["worker", "supervisor"])
def test_a_service_is_a_unit_that_systemd_takes(farm: Farm, what: str) -> None:
    folder = farm.folder / 'a folder $HOME 100% "é"'
    folder.mkdir()
    (folder / "paneview.toml").write_text('name = "x"\n[queue]\nbroker = "dir:///srv/of%20all/100%25"\n')
    args = ["--role", "r"] if what == "worker" else []
    done = run("service", what, *args, "--json", cwd=folder)
    check_shape(QUEUE_SHAPES["service"], done.json)
    unit = farm.folder / done.json["name"]
    unit.write_text(done.json["unit"])
    assert 'RequiresMountsFor="/srv/of all/100%%"\n' in done.json["unit"]
    checked = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_service_looks_as_often_as_claude_queue_s(farm: Farm) -> None:
    unit = ask(farm, "service", "worker", "--interval", "5")["unit"]
    assert "worker --interval 5\n" in unit
    for wrong in (("--interval", "0"), ("--concurrency", "0"), ("--role", "a b")):
        assert farm.cli("service", "worker", *wrong).status == 2, wrong
    assert farm.cli("service", "supervisor", "--role", "a").status == 2


@pytest.mark.parametrize("wrong", [["--role", "a\x01b"], ["--role", "a cook"], ["--user", "a\x01b"]])
def test_a_service_with_a_role_or_user_that_nobody_can_have_is_wrong_usage(
    farm: Farm, wrong: list[str]
) -> None:
    assert farm.cli("service", "worker", *wrong).status == 2


@pytest.mark.parametrize("what", ["worker", "supervisor"])
def test_a_service_means_the_same_places_and_the_same_queue(farm: Farm, what: str) -> None:
    (farm.folder / "paneview.toml").write_text('name = "x"\n')
    given = {
        "XDG_STATE_HOME": "/srv/state",
        "TMUX_TMPDIR": "/srv/tmux",
        "PANEVIEW_LEASE": "90",
        "PANEBUS_HOST": "old",
        "PANEVIEW_HOST": "here",
        "PANEVIEW_BROKER": "redis://queue:6379/1",
        "UNRELATED": "1",
    }
    unit = run("service", what, cwd=farm.folder, env=given).out
    expected = {
        f"{name}={value}" for name, value in given.items() if name not in {"UNRELATED", "PANEBUS_HOST"}
    }
    lines = {
        line.removeprefix("Environment=") for line in unit.splitlines() if line.startswith("Environment=")
    }
    assert expected <= lines
    assert not any(line.startswith(("UNRELATED", "PANEBUS_HOST")) for line in lines)
    assert "EnvironmentFile" not in unit


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"PANEVIEW_BROKER": "redis://me:hush@queue/1"}, "PANEVIEW_BROKER"),
        ({"PANEVIEW_BROKER": "", "PANEVIEW_REDIS_URL": "rediss://:hush@queue"}, "PANEVIEW_REDIS_URL"),
        ({"PANEVIEW_REDIS_PASSWORD": "hush"}, "PANEVIEW_REDIS_PASSWORD"),
    ],
)
def test_a_password_is_in_no_service_and_its_place_is_told(
    farm: Farm, given: dict[str, str], name: str
) -> None:
    done = run("service", "worker", "--role", "r", cwd=farm.folder, env=given)
    assert done.status == 0
    assert "hush" not in done.out + done.err
    assert "\nEnvironmentFile=/etc/paneview-worker.env\n" in done.out
    assert f"/etc/paneview-worker.env, for root alone (mode 600), write: {name}=…" in done.err
    flag = run("service", "worker", "--broker", "redis://:hush@queue", "--json", cwd=farm.folder)
    assert "hush" not in flag.json["unit"]
    assert "write: PANEVIEW_BROKER=…" in flag.json["unit"]


def test_status_and_events_of_a_queue_without_a_project(farm: Farm) -> None:
    """As PaneBus is used: with nothing but its URL in the environment."""
    env = {"PANEVIEW_BROKER": "", "PANEBUS_REDIS_URL": farm.url}
    farm.ready("--role", "cook", "--name", "chef")
    farm.submit(target=Target(host="nowhere"))
    farm.broker.workers.quarantine("lost", "it died too often")
    farm.broker.workers.quarantine("chef", "2 respawns in 300 s", host="elsewhere")
    found = farm.cli("status", "--json", **env).json
    check_shape(SHAPES["status"], found)
    queue = found["queue"]
    assert (queue["waiting"], queue["workers"], sorted(queue["quarantined"])) == (1, 1, ["chef", "lost"])
    assert (found["running"], found["tasks"], found["supervisor"]) == (False, [], None)
    said = farm.cli("status", **env).out
    assert "1 waiting, 0 running" in said
    assert "lost is quarantined: it died" in said
    assert "chef is quarantined on elsewhere: 2 respawns" in said
    assert [one["quarantined"] for one in farm.cli("workers", "--json", **env).json["workers"]] == [False]
    events = farm.cli("events", "--json", "--count", "50", **env).json
    check_shape(SHAPES["events"], events)
    assert {"worker_started", "worker_quarantined"} <= {one["event"] for one in events["events"]}
    listed = farm.cli("workflows", "--json", **env).json
    check_shape(SHAPES["workflows"], listed)
    assert listed["workflows"] == []
    assert farm.cli("workflow-status", "none-1", "--json", **env).json["code"] == "queue"
    for words in (("ask", "x"), ("workflow-setup", "--no-attach"), ("workflow-teardown",)):
        refused = farm.cli(*words, "--json", **env)
        assert (refused.status, refused.json["code"]) == (2, "config")
        assert "'paneview init' makes one" in refused.json["hint"]
    nothing = {"PANEVIEW_BROKER": ""}
    for verb in ("status", "events", "workflows"):
        assert "no paneview.toml" in farm.cli(verb, **nothing).err


def test_status_of_a_project_that_nobody_supervises_tells_its_queue(farm: Farm) -> None:
    folder = farm.folder / "project"
    folder.mkdir()
    file = folder / "paneview.toml"
    file.write_text('name = "x"\n')
    assert run("status", "--json", cwd=folder).json["queue"] is None
    file.write_text(f'name = "x"\n[queue]\nbroker = "{farm.url}"\n')
    farm.submit()
    found = run("status", "--json", cwd=folder).json
    check_shape(SHAPES["status"], found)
    assert found["queue"]["waiting"] == 1
    assert "1 waiting, 0 running" in run("status", cwd=folder).out
    file.write_text('name = "x"\n[queue]\nbroker = "sqlite:///dev/null/queue.db"\n')
    assert "the queue cannot be reached" in run("status", cwd=folder).out


def test_they_work_with_no_project_and_no_setting(farm: Farm) -> None:
    job = farm.cli("submit", "x", "--json", PANEVIEW_BROKER="").json["id"]
    done = farm.cli("worker", "--once", "--command", "cat", "--json", PANEVIEW_BROKER="")
    assert done.status == 0
    assert farm.cli("result", job, PANEVIEW_BROKER="").out == "x\n"
