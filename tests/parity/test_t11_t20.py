"""Rows T11 to T20: logs, looking, editing, the API, the plain tmux session."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sys
import time
from typing import Any

import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.harness import alive, free_port, wait_until
from tests.parity.place import Place

pytestmark = pytest.mark.timeout(120)

COUNT = """\
import pathlib, time
number = 0
while not pathlib.Path("halt").exists():
    print("line", number, flush=True)
    number += 1
    time.sleep(0.002)
print("last", number, flush=True)
"""


def test_T11_logs_outlive_everything_and_lose_nothing(place: Place) -> None:
    (place.folder / "count.py").write_text(COUNT)
    place.start(f"""
        [tasks.count]
        command = "{sys.executable} count.py"
        restart_policy = "no"
        [tasks.big]
        command = "seq 100000 134999"
        log_max_size = "50KB"
        log_max_files = 2
        log_file = "logs/big.log"
        """)
    wait_until(lambda: len(place.log("count")) > 20)
    big = place.folder / "logs/big.log"

    def is_whole() -> bool:
        try:
            return big.read_text().endswith(" 134999\n")
        except FileNotFoundError:  # not yet, or it is just being rotated
            return False

    wait_until(is_whole)
    wait_until(lambda: sum(map(len, place.log("big"))) < 200_000)
    # Beyond: also while the supervisor is dead, no line is lost and none is there twice.
    place.kill_supervisor()
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 0.3)  # it writes meanwhile
    (place.folder / "halt").touch()
    place.supervise()
    place.wait("count", "done")
    wait_until(lambda: place.log("count")[-1].startswith("last "))
    *lines, last = place.log("count")
    assert lines == [f"line {number}" for number in range(len(lines))]
    assert last == f"last {len(lines)}"
    # The size is bounded, and what is left is the end.
    kept = [int(line) for line in place.log("big")]
    assert len(kept) * len("100000") < 200_000
    assert kept == list(range(kept[0], 135_000))
    assert kept[0] > 100_000
    plain = sorted(path.name for path in (place.folder / "logs").iterdir())
    assert plain == ["big.log", "big.log.1"]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", (place.folder / "logs/big.log.1").read_text())
    # Times are UTC; and the session's end takes nothing away.
    place.ask("down")
    shown = place.run("logs", "count", "-n", "1").out
    stamp, text = shown.rstrip("\n").split(" ", 1)
    assert text == last
    assert abs(time.time() - _epoch(stamp.lstrip("~"))) < 120


def _epoch(stamp: str) -> float:
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()


def test_T12_logs_interleaved_followed_and_searched(place: Place) -> None:
    place.start("""
        [tasks.a]
        command = "printf '\\\\033[31mone\\\\033[0m\\\\ntwo\\\\nError three\\\\nfour\\\\nfive\\\\n'; exec sleep 600"
        [tasks.b]
        command = "echo from b; exec sleep 600"
        [tasks.big]
        command = "seq 1 300000"
        """)
    place.wait("big", lambda t: t["log_end"] == 300_000)
    place.wait_log("a", "one", "two", "Error three", "four", "five")
    place.wait_log("b", "from b")
    both = place.run("logs", "a", "b").out
    assert re.search(r"\bb +\| from b\n", both)
    assert re.search(r"\ba +\| one\n", both), "no colours in a pipe"
    assert place.ask("logs", "a")["lines"][0].endswith(" one")

    def texts(*args: str) -> list[str]:
        return [entry["text"] for entry in place.ask("logs", *args)["entries"]]

    assert texts("a", "-n", "2") == ["four", "five"]
    assert texts("a", "-g", "Error") == ["Error three"]
    assert texts("a", "-g", "error") == ["Error three"]
    assert texts("a", "-g", "ERROR") == []
    assert texts("a", "-g", "ERROR", "-i", "-C", "1") == ["two", "Error three", "four"]
    assert texts("a", "--regex", "-g", "^(two|four)$") == ["two", "four"]
    assert texts("-g", "from b") == ["from b"]
    assert texts("big", "-g", "299999") == ["299999"]
    assert len(texts("a", "--since", "5m")) == 5
    ends = place.ask("logs", "a")["entries"]
    assert texts("a", "--until", f"{ends[0]['ts'] - 1:.3f}") == []
    wait_until(lambda: not any(entry["approx"] for entry in place.ask("logs", "a")["entries"]))  # stored
    stamp = place.ask("logs", "a")["lines"][0].split(" ")[0]
    assert texts("a", "--since", stamp)[0] == "one"
    with place.following("logs", "a", "-f", "-n", "1") as follower:
        assert follower.stdout
        assert follower.stdout.readline().endswith(" five\n")
        place.ask("restart", "a")
        seen = [follower.stdout.readline().rstrip("\n").rsplit(" ", 1)[-1] for _ in range(5)]
        assert [word for word in seen if word != "^C"][:2] == ["one", "two"], "it follows through a restart"
    place.ask("logs-clean", "a")
    assert texts("a") == []
    assert texts("b") == ["from b"]


def test_T13_status_health_and_inspect_of_the_whole_tree(place: Place) -> None:
    eat = "import time\nheld = bytearray(90_000_000); held[::4096] = b'x' * len(held[::4096])\n"
    eat += "while True: sum(range(100_000)); time.sleep(0.01)\n"
    (place.folder / "eat.py").write_text(eat)
    place.start(f"""
        [tasks.eats]
        command = "{sys.executable} eat.py & {sys.executable} -c 'import time; time.sleep(600)'; true"
        description = "much"
        [tasks.idle]
        command = "exec sleep 600"
        """)
    eats = place.wait("eats", lambda t: (t["rss_bytes"] or 0) > 90_000_000 and t["cpu_percent"] > 1)
    assert eats["processes"] >= 3
    for alias in ("status", "list", "ls"):
        assert [task["name"] for task in place.ask(alias)["tasks"]] == ["eats", "idle"]
        assert "running" in place.run(alias).out
    health = place.ask("health")
    assert (health["healthy_count"], health["total_count"]) == (2, 2)
    inspected = place.ask("inspect", "eats")
    assert {"name": "eats", "running": True, "healthy": True}.items() <= inspected.items()
    assert (inspected["definition"]["description"], inspected["runs"][0]["cause"]) == (
        "much",
        "started by cli",
    )
    assert {row["pid"] for row in inspected["tree"]} >= {inspected["pid"]}
    assert inspected["window_id"].startswith("@")
    assert inspected["pane_id"].startswith("%")


def test_T14_every_change_is_an_event_with_its_cause(place: Place) -> None:
    place.begin("""
        [tasks.crash]
        command = "exit 3"
        restart_backoff = 0
        max_restarts = 1
        [tasks.t]
        command = "exec sleep 600"
        health_check = "test ! -e sick"
        health_interval = 0.1
        health_retries = 1
        restart_backoff = 0
        """)
    place.wait("crash", "failed")
    place.wait("t", lambda t: t["healthy"])
    (place.folder / "sick").touch()
    place.wait_event("auto_restart", "t")
    (place.folder / "sick").unlink()
    place.wait("t", lambda t: t["healthy"])
    place.ask("restart", "t")
    place.ask("stop", "t")
    place.ask("start", "t")
    place.ask("kill", "t")
    place.write("[tasks.t]\ncommand = 'exec sleep 600'\n")
    place.ask("reload")
    events = place.ask("events", "-n", "1000", "--since", "1h")
    assert events["count"] == len(events["events"])
    assert place.ask("events", "--limit", "2")["count"] == 2
    kinds = {event["event"] for event in events["events"]}
    assert kinds >= {
        "task_started", "task_stopped", "task_restarted", "task_killed", "session_started", "health_check_failed",
        "auto_restart", "max_restarts_reached", "config_reloaded",
    }  # fmt: skip
    for event in events["events"]:
        assert {"ts", "event", "session", "task"} <= set(event)
        assert event["session"] == "shop"
        if event["event"].startswith("task_"):
            assert event["cause"], f"{event['event']} without a cause"
            if event["cause"].endswith(" by cli"):
                assert event["actor"] == "user:cli", event
    shown = place.run("events", "-n", "1000", "--since", "1h").out
    assert "user:" not in shown
    assert "by cli  by cli" not in shown
    assert {event["task"] for event in place.ask("events", "--task", "crash")["events"]} == {"crash"}
    last = events["events"][-1]["ts"]
    assert place.ask("events", "--since", f"{last + 1:.3f}")["events"] == []
    with place.following("events", "-f", "--json", "--kind", "task_started") as follower:
        assert follower.stdout
        place.ask("start", "t")
        while json.loads(follower.stdout.readline())["run"] != place.task("t")["run"]:
            pass


# command → keys at the top that taskmux's readers know
SHAPES = {
    "status": {"session", "running", "active_tasks", "tasks"},
    "health": {"healthy_count", "total_count", "tasks"},
    "inspect db": {
        "name", "command", "auto_start", "restart_policy", "log_file", "cwd", "health_check", "depends_on", "running",
        "healthy", "pid", "window_id", "pane_id",
    },
    "events": {"events", "count"},
    "logs db": {"task", "lines"},
    "start db": {"ok", "task", "action"},
    "stop db": {"ok", "results"},
    "restart db": {"ok", "results"},
    "kill db": {"ok", "task", "action"},
    "start": {"ok", "session", "action", "tasks"},
    "add late true": {"ok", "task", "command", "action"},
    "remove late": {"ok", "task", "action"},
    "logs-clean": {"ok"},
    "attach db": {"ok"},
    "reload": {"ok"},
    "check": {"ok"},
    "schema": set[str](),
    "daemon": {"ok"},
    "export": set[str](),
    "completion bash": {"ok"},
    "init": {"ok"},
    "stop": {"ok", "session", "action"},
    "down": {"ok"},
}  # fmt: skip
TASK_KEYS = {
    "name", "running", "healthy", "command", "auto_start", "port", "restart_policy", "cwd", "depends_on"
}  # fmt: skip


def test_T15_json_everywhere_with_documented_shapes(place: Place) -> None:
    place.start('[tasks.db]\ncommand = "exec sleep 600"\n')
    for line, keys in SHAPES.items():
        words = line.split()
        if line in {"status", "start db", "logs db", "schema", "init"}:
            # Anywhere on the line, and an error of the parser is JSON, too.
            wrong = place.run("--json", *words, "--no-such-option")
            assert wrong.status == 2, line
            assert json.loads(wrong.out)["ok"] is False
        done = place.run(words[0], "--json", *words[1:])
        assert (done.status, done.err) == (0, ""), line
        objects = [json.loads(text) for text in done.out.splitlines()]
        assert keys <= set(objects[0]), line
        if words[0] in {
            "status",
            "inspect",
            "events",
        }:  # the room's own tests hold every one against its schema
            documented = json.loads(place.run("schema", "--output", words[0]).out)["properties"]
            assert set(objects[0]) <= set(documented), line
        if words[0] == "status":
            assert set(objects[0]["tasks"][0]) >= TASK_KEYS
    assert place.ask("stop", "db", status=3)["error"]
    ghost = place.ask("start", "ghost", status=1)
    assert (ghost["error"], ghost["error_code"]) == ("Task 'ghost' not found in config", "E200")
    assert ghost["results"][0] | {"task": 0} == {
        "ok": False, "error_code": "E200", "error": "Task 'ghost' not found in config", "task": 0
    }  # fmt: skip
    assert "status" in str(place.ask("statsu", status=2))


def test_T16_add_and_remove_leave_the_rest_as_it_was(place: Place) -> None:
    text = (
        "# mine\nname='shop'   # so\n\n\n[tasks.db]   # the base\ncommand = '''exec sleep 600'''\n# the end"
    )
    file = place.folder / "real.toml"
    file.write_text(text)
    (place.folder / "paneview.toml").symlink_to("real.toml")
    place.supervise()
    place.ask("start")
    added = place.ask("add", "web", "exec sleep 600", "--depends-on", "db", "--description", 'with "quotes"')
    assert (added["task"], added["action"]) == ("web", "added")
    assert file.read_text().startswith(text)
    place.wait("web", "running")
    assert "exists already" in place.ask("add", "web", "true", status=2)["error"]
    place.ask("add", "odd name", "true", status=2)
    place.ask("remove", "db", status=2)
    pid = place.task("web")["pid"]
    assert place.ask("remove", "web")["action"] == "removed"
    assert file.read_text() == text
    assert (place.folder / "paneview.toml").is_symlink()
    wait_until(lambda: not alive(pid))
    assert "not found in config" in place.ask("remove", "web", status=1)["error"]


def test_T17_init_writes_the_file_and_tells_the_agents(place: Place) -> None:
    (place.folder / "package.json").write_text('{"scripts": {"dev": "vite", "lint": "eslint"}}')
    (place.folder / "compose.yaml").write_text("services:\n  db:\n    image: postgres\n")
    (place.folder / "AGENTS.md").write_text("# Rules\n\nBe kind.\n")
    made = place.ask("init", "--defaults")
    assert (made["action"], made["tasks"]) == ("created", ["db", "dev"])
    assert place.ask("check")["tasks"] == ["db", "dev"]
    # Beyond: a marked block, the same bytes however often, and none of the user's touched.
    texts = {name: (place.folder / name).read_bytes() for name in ("AGENTS.md", "CLAUDE.md", "paneview.toml")}
    assert texts["AGENTS.md"].startswith(b"# Rules\n\nBe kind.\n")
    for name in ("AGENTS.md", "CLAUDE.md"):
        block = texts[name].decode().split("<!-- paneview:begin -->")[1].split("<!-- paneview:end -->")[0]
        assert "paneview status --json" in block
        assert "vite" not in block
        assert len(block) < 1000
    assert place.ask("init", "--defaults")["action"] == "kept"
    assert {name: (place.folder / name).read_bytes() for name in texts} == texts


def test_T18_a_changed_file_is_taken_over_and_a_broken_one_is_told(place: Place) -> None:
    before = '[tasks.same]\ncommand = "exec sleep 600"\n[tasks.edited]\ncommand = "exec sleep 601"\n'
    place.start(before + '[tasks.gone]\ncommand = "exec sleep 602"\n')
    with place.following("watch", "--json") as watching:
        assert watching.stdout
        while not select.select([watching.stdout], [], [], 0.05)[0]:
            place.ask("restart", "gone")  # until it is told: then all that follows is, too
        runs = {name: place.wait(name, "running")["run"] for name in ("same", "edited", "gone")}
        pid = place.task("gone")["pid"]
        place.write("# a word\n" + before.replace("601", "611") + '[tasks.new]\ncommand = "exec sleep 603"\n')
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["event"] != "config_reloaded":
            seen.append(json.loads(watching.stdout.readline()))
        # Beyond: only what changed restarts.
        wait_until(lambda: "new" in [task["name"] for task in place.ask("status")["tasks"]])
        place.wait("new", "running")
        assert place.wait("edited", lambda t: t["running"] and t["run"] > runs["edited"])
        assert place.task("same")["run"] == runs["same"]
        assert not alive(pid)
        now = {task["name"]: task["run"] for task in place.ask("status")["tasks"]}
        broken = place.folder / "broken.toml"
        broken.write_text("[tasks.same]\ncomand = 1\n")
        broken.replace(place.folder / "paneview.toml")  # at no moment is it empty, which would be no mistake
        while seen[-1]["event"] != "config_rejected":
            seen.append(json.loads(watching.stdout.readline()))
    assert "command" in seen[-1]["cause"]
    assert place.ask("reload", status=2)["problems"][0]["line"] == 2
    assert {task["name"]: task["run"] for task in place.ask("status")["tasks"]} == now


def test_T19_the_websocket_api_for_those_with_the_token(place: Place) -> None:
    port = free_port()
    place.start("""
        [tasks.db]
        command = "echo hello; exec sleep 600"
        [tasks.web]
        command = "exec sleep 600"
        """)
    daemon = place.ask("daemon", "--port", str(port))
    assert daemon["websocket"] == f"ws://127.0.0.1:{port}/"
    with open(daemon["token_file"]) as file:
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600
        token = file.read().strip()
    url = f"{daemon['websocket']}?token={token}"
    with connect(url) as ws:

        def ask(command: str, **params: Any) -> dict[str, Any]:
            ws.send(json.dumps({"command": command, "params": params}))
            return read(lambda message: "type" not in message)

        def read(wanted: Any) -> dict[str, Any]:
            while not wanted(message := json.loads(ws.recv(20))):
                pass
            return dict(message)

        status = ask("status")
        assert {"session", "running", "active_tasks", "tasks"} <= set(status)
        assert {"success": True, "message": "Restarted db"}.items() <= ask("restart", task="db").items()
        assert {"success": True, "message": "Killed web"}.items() <= ask("kill", task="web").items()
        wait_until(lambda: ask("logs", task="db", lines=50)["logs"][-1:] == ["hello"])
        assert ask("restart", task="ghost")["success"] is False
        assert ask("dance") == {"error": "Unknown command: dance"}
        # Beyond: a subscription.
        assert ask("subscribe")["success"]
        assert read(lambda message: message.get("type") == "snapshot")["status"]["session"] == "shop"
        place.ask("start", "web")
        started = read(lambda message: message.get("event", {}).get("event") == "task_started")
        assert started["event"]["task"] == "web"
    with connect(url) as old:
        place.ask("kill", "web")
        while (told := json.loads(old.recv(20)))["data"]["tasks"][1]["healthy"]:
            pass  # what changed just before it came
        assert told["type"] == "health_check"
    # Beyond: token, Origin.
    for address, headers in (
        (daemon["websocket"] + "?token=x", {}),
        (url, {"Origin": "http://evil.example"}),
    ):
        with pytest.raises(InvalidStatus):
            connect(address, additional_headers=headers)
    # A web page may get to the port by a plain request, and learns nothing.
    listening = psutil.Process(place.supervisor()).net_connections("tcp")
    assert {one.laddr.ip for one in listening if one.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_T20_a_plain_tmux_session_with_a_window_for_each_task(place: Place) -> None:
    place.begin("""
        [tasks.runs]
        command = "echo I am here; exec sleep 600"
        [tasks.dies]
        command = "echo my last words; exit 3"
        restart_policy = "no"
        """)
    place.wait("dies", "failed")
    place.wait_log("runs", "I am here")
    tmux = place.sandbox.tmux
    windows = tmux("list-windows", "-t", "=shop", "-F", "#{window_name}").splitlines()
    assert sorted(windows) == ["dies", "paneview", "runs"]
    assert "I am here" in tmux("capture-pane", "-p", "-t", "=shop:runs")
    attach = place.ask("attach", "runs")["command"]
    assert {"tmux", "attach-session"} <= set(attach)
    # Beyond: the window of a dead task stays, with what it said and its exit code.
    assert tmux("display-message", "-p", "-t", "=shop:dies", "#{pane_dead} #{pane_dead_status}") == "1 3"
    shown = tmux("capture-pane", "-p", "-S", "-", "-t", "=shop:dies")
    assert "my last words" in shown
    assert re.search(r"dead.*3", shown)
    # A session of the user's own with that name is never touched.
    place.ask("down")
    tmux("new-session", "-d", "-s", "shop", "-n", "mine", "sleep 600")
    assert "shop" in place.ask("start", status=1)["error"]
    assert tmux("list-windows", "-t", "=shop", "-F", "#{window_name}") == "mine"
    os.kill(int(tmux("display-message", "-p", "-t", "=shop:mine", "#{pane_pid}")), signal.SIGKILL)
