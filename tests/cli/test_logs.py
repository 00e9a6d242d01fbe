"""``logs`` on a real store, without a supervisor: which lines, in which order, and how they are printed."""

from __future__ import annotations

import gc
import json
import os
import pty
import signal
import socket
import subprocess
from functools import partial
from typing import TYPE_CHECKING

import psutil
import pytest

from paneview.cli.follow import Hints
from paneview.cli.place import Place
from paneview.config import paths
from paneview.patterns import Pattern
from paneview.store import match
from paneview.store.ingest import LogIngest
from paneview.store.limits import LogLimits
from paneview.store.reader import LogReader
from tests.cli.support import COMMAND, run
from tests.harness import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Store:
    """The project's log store, written as by a supervisor."""

    def __init__(self, project: Path) -> None:
        self.folder = paths.make_project_dir(project / "paneview.toml", "demo")
        self.spool = paths.spool_dir(self.folder)
        self.spool.mkdir()
        self.ingest = LogIngest(paths.logs_db(self.folder), self.spool)
        self.ingest.start()

    def write(self, run_number: int, task: str, data: bytes) -> None:
        """Have a finished run print `data`."""
        self.ingest.attach(run_number, task)
        (self.spool / f"{run_number}.000000").write_bytes(data)
        self.ingest.finish(run_number)
        self.ingest.drained(run_number).result(timeout=20)


@pytest.fixture
def store(project: Path) -> Iterator[Store]:
    made = Store(project)
    yield made
    made.ingest.stop()


def shown(project: Path, *args: str) -> list[str]:
    """What ``logs`` prints, without the times."""
    done = run("logs", *args, cwd=project)
    assert (done.status, done.err) == (0, "")
    return texts(done.out)


def texts(out: str) -> list[str]:
    """Lines without their times."""
    return [line.partition(" ")[2] for line in out.splitlines()]


def test_one_task_is_printed_with_its_times(project: Path, store: Store) -> None:
    store.write(1, "web", b"one\ntwo\n")
    out = run("logs", "web", cwd=project).out
    assert texts(out) == ["one", "two"]
    stamp = out.split(" ")[0]
    assert len(stamp.lstrip("~")) == len("2024-01-01T14:00:00.123")


def test_all_tasks_are_interleaved_under_their_names(project: Path, store: Store) -> None:
    store.write(1, "web", b"first\n")
    store.write(2, "db", b"second\n")
    assert shown(project) == ["web | first", "db  | second"]
    assert shown(project, "db", "web") == ["web | first", "db  | second"]


def test_the_last_lines_and_nothing_else(project: Path, store: Store) -> None:
    store.write(1, "web", b"".join(b"line %d\n" % number for number in range(3000)))
    assert shown(project, "web", "-n", "2") == ["line 2998", "line 2999"]
    assert len(shown(project, "web")) == 100
    assert shown(project, "web", "-n", "0") == []
    many = shown(project, "web", "-n", "2500")
    assert (len(many), many[0], many[-1]) == (2500, "line 500", "line 2999")
    assert len(shown(project, "web", "--since", "1h")) == 3000
    assert shown(project, "web", "--until", "1h") == []


def test_a_search_is_for_a_text_or_an_expression_with_lines_around_it(project: Path, store: Store) -> None:
    store.write(1, "web", b"".join(b"line %d\n" % number for number in range(20)) + b"An ERROR\nend\n")
    web = ("web", "-g")
    assert shown(project, *web, "error") == ["An ERROR"]
    assert shown(project, *web, "Error") == []
    assert shown(project, *web, "Error", "-i") == ["An ERROR"]
    assert shown(project, *web, "line 1", "-n", "2") == ["line 18", "line 19"]
    assert shown(project, *web, r"^line \d$", "--regex") == [f"line {n}" for n in range(10)]
    assert shown(project, *web, "line 4", "-C", "1") == ["line 3", "line 4", "line 5"]
    both = shown(project, *web, r"line (4|15)", "--regex", "-B", "1")
    assert [text or "--" for text in both] == ["line 3", "line 4", "--", "line 14", "line 15"]
    bad = run("logs", *web, "(", "--regex", "--json", cwd=project)
    assert (bad.status, bad.json["ok"]) == (2, False)
    assert "is not a regular expression" in bad.json["error"]
    assert run("logs", "-i", cwd=project).status == 2


@pytest.mark.parametrize("pattern", ["(a|a)+$", "a{99999999999999999999}", "(" * 1500 + "a" + ")" * 1500])
@pytest.mark.parametrize("count", [[], ["-n", "3"]])
def test_a_pattern_that_cannot_be_sought_is_told(
    project: Path, store: Store, pattern: str, count: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(match, "Pattern", partial(Pattern, limit=0.05))
    store.write(1, "web", b"aaa\n" * 5 + b"a" * 44 + b"!\n" + b"b\n" * 5)
    bad = run("logs", "web", "-g", pattern, "--regex", "--json", *count, cwd=project)
    assert (bad.status, bad.json["ok"]) == (2, False)
    assert "pattern takes too long" in bad.json["error"] or "not a regular expression" in bad.json["error"]


def test_json_has_the_lines_as_text_and_as_objects(project: Path, store: Store) -> None:
    store.write(1, "web", b"\x1b[31mred\x1b[0m\nplain \xff\x00\n")
    found = run("logs", "web", "--json", cwd=project).json
    assert found["task"] == "web"
    assert texts("\n".join(found["lines"])) == ["red", "plain \ufffd"]
    assert [(entry["n"], entry["run"], entry["text"]) for entry in found["entries"]] == [
        (0, 1, "red"),
        (1, 1, "plain \ufffd"),
    ]
    everything = run("logs", "--json", cwd=project).json
    assert found.get("tasks") is None
    own = {name: [line.split(" ", 1)[1] for line in lines] for name, lines in everything["tasks"].items()}
    entries = everything["entries"]
    assert own["web"] == [one["text"] for one in entries if one["task"] == "web"]
    assert set(own) >= {one["task"] for one in entries}
    assert everything["task"] is None
    assert "web | red" in everything["lines"][0]


def test_colours_are_for_terminals_and_nothing_else_is_passed_on(project: Path, store: Store) -> None:
    store.write(1, "web", b"\x1b]0;title\x07\x1b[31mred\x1b[0m \x1b[2J\n")
    assert shown(project, "web") == ["red "]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "logs", "web"],
        cwd=project,
        env={**os.environ, "TERM": "xterm"},
        stdout=theirs,
        stderr=theirs,
    ) as process:
        process.wait()
        os.close(theirs)
    screen = os.read(ours, 4096)
    os.close(ours)
    assert b"\x1b[31mred" in screen
    assert b"title" not in screen
    assert b"\x1b[2J" not in screen


def test_an_unknown_task_is_told_and_a_task_without_output_is_empty(project: Path, store: Store) -> None:
    done = run("logs", "ghost", "--json", cwd=project)
    assert done.status == 1
    assert done.json["error"] == "Task 'ghost' not found in config"
    assert done.json["results"][0]["error_code"] == "E200"
    assert run("logs", "jobb", cwd=project).err.splitlines()[1:] == ["  did you mean 'job'?"]
    assert run("logs", "job", cwd=project).out == ""
    assert run("logs", "job", "--json", cwd=project).json["lines"] == []


def test_a_task_with_replicas_means_all_of_them(project: Path, store: Store) -> None:
    store.write(1, "worker.1", b"a\n")
    store.write(2, "worker.2", b"b\n")
    assert shown(project, "worker") == ["worker.1 | a", "worker.2 | b"]
    assert shown(project, "worker.2") == ["b"]


def test_no_store_yet(project: Path) -> None:
    assert run("logs", cwd=project).out == ""
    assert run("logs", "--json", cwd=project).json["entries"] == []
    assert run("logs-clean", "--json", cwd=project).json["results"] == []


def test_cleaning_without_a_supervisor(project: Path) -> None:
    store = Store(project)
    store.write(1, "web", b"one\n")
    store.write(2, "db", b"two\n")
    store.ingest.stop()
    done = run("logs-clean", "web", "--json", cwd=project)
    assert (done.json["task"], done.json["action"]) == ("web", "cleaned")
    assert shown(project) == ["db  | two"]
    assert "db" in run("logs-clean", cwd=project).out
    assert run("logs", cwd=project).out == ""


def test_following_shows_what_comes_and_ends_when_nobody_reads(project: Path, store: Store) -> None:
    store.write(1, "web", b"old\n")
    with subprocess.Popen(
        [*COMMAND, "logs", "-f", "-g", "o", "--json"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["text"] == "old"
        store.write(2, "web", b"no\nnever\n")  # a restart
        assert json.loads(process.stdout.readline())["text"] == "no"
        store.write(3, "db", b"another\n")  # a task that had no log
        assert json.loads(process.stdout.readline())["task"] == "db"
        process.stdout.close()
        wait_until(lambda: process.poll() is not None)
        assert (process.returncode, process.stderr.read()) == (0, "")


def test_following_shows_a_prompt_once_and_then_what_follows_it(project: Path, store: Store) -> None:
    store.ingest.attach(1, "web")
    spool = store.spool / "1.000000"
    spool.write_bytes(b"ready\nName: ")
    with subprocess.Popen(
        [*COMMAND, "logs", "web", "-f"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert texts(process.stdout.readline()) == ["ready"]
        assert texts(process.stdout.readline()) == ["Name: "]
        with spool.open("ab") as file:
            file.write(b"Bob\nbye\n")
        assert texts(process.stdout.readline()) == ["Bob"]
        assert texts(process.stdout.readline()) == ["bye"]
        process.send_signal(2)
        rest, errors = process.communicate(timeout=20)
        assert (process.returncode, rest, errors) == (0, "", "")


def test_a_supervisor_that_is_stopped_holds_up_nobody_who_follows(project: Path, store: Store) -> None:
    """It accepts connections, since the kernel does that for it, and answers nothing."""
    gc.collect()  # so that nothing that other tests have left is closed meanwhile
    before = psutil.Process().num_fds()
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(os.fspath(paths.control_socket(store.folder)))
        stopped.listen()
        hints = Hints(Place(os.fspath(project / "paneview.toml")), store.folder)
        hints.wait()
        hints.close()
    assert psutil.Process().num_fds() <= before


def test_a_flood_is_followed_without_loss(project: Path, store: Store) -> None:
    count = 15_000
    store.write(1, "web", b"old\n")
    with subprocess.Popen(
        [*COMMAND, "logs", "web", "-f"], cwd=project, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert texts(process.stdout.readline()) == ["old"]
        store.write(2, "web", b"".join(b"%d\n" % number for number in range(count)))
        assert [int(texts(process.stdout.readline())[0]) for _ in range(count)] == list(range(count))
        store.write(3, "web", b"one\nwithout newline")
        store.write(4, "web", b"next\n")
        found = [texts(process.stdout.readline())[0] for _ in range(3)]
        assert found == ["one", "without newline", "next"]
        process.send_signal(2)
        assert process.wait(timeout=20) == 0


def test_following_says_so_if_lines_were_removed_unseen(project: Path, store: Store) -> None:
    store.write(1, "web", b"first\n")
    with subprocess.Popen(
        [*COMMAND, "logs", "web", "-f"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "first" in process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        store.ingest.set_limits("web", LogLimits(max_bytes=1_000))
        for number in range(2, 5):
            store.write(number, "web", b"".join(b"line %d\n" % each for each in range(20_000)))
        with LogReader(paths.logs_db(store.folder), store.spool) as reader:
            wait_until(lambda: reader.first("web") > 1)
            first = reader.first("web")
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline()
        process.kill()
        assert process.stderr.read().startswith(f"paneview: web: {first - 1} lines are missing here")


def test_memory_does_not_grow_with_the_result(project: Path, store: Store) -> None:
    code = (
        "import re, sys; from paneview.cli import main; main(sys.argv[1:]); "
        "print(re.search('VmHWM:[^0-9]*([0-9]+)', open('/proc/self/status').read())[1], file=sys.stderr)"
    )

    def kilobytes(*extra: str) -> int:
        line = [COMMAND[0], "-c", code, "logs", "web", "-g", "x", *extra]
        return int(subprocess.run(line, cwd=project, capture_output=True, check=True).stderr)

    store.write(1, "web", b"x\n")
    few = kilobytes()
    store.write(2, "web", b"".join(b"%d %s\n" % (number, b"x" * 4_000) for number in range(4_000)))  # 16 MB
    assert kilobytes() < few + 8_000
    assert kilobytes("--json") < few + 8_000
