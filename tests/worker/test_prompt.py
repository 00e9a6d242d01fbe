"""The ``prompt`` kind: what may be run, where, and what becomes of its output."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING

import pytest

from paneview.config.secrets import MASK
from paneview.worker import child
from tests.harness import wait_until
from tests.worker.support import alive_with

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.worker.support import Farm


def test_the_text_comes_on_standard_input_whatever_it_is(farm: Farm) -> None:
    farm.ready("--command", "cat")
    for text in ("--help", "$(touch /tmp/never) `id`", "größe\n\x1b[31mred", "x" * 300_000):
        found = farm.over(farm.submit("prompt", {"text": text}))
        assert found.result is not None
        assert found.result.output[-1000:] == text.replace("\x1b[31m", "")[-1000:]
    assert farm.over(farm.submit("prompt", "plain")).result.output == "plain"  # type: ignore[union-attr]


def test_a_long_output_keeps_its_end(farm: Farm) -> None:
    farm.ready("--command", "sh -c 'yes 0123456789 | head -n 100000; echo the end'")
    found = farm.over(farm.submit("prompt", {"text": "x"}))
    output = found.result.output  # type: ignore[union-attr]
    assert output.endswith("the end")
    assert output.startswith("[8")
    assert len(output) < 300_000


def test_a_failing_program_says_why_without_secrets(farm: Farm) -> None:
    command = "sh -c 'echo partly; echo no credit $SHOP_API_KEY >&2; exit 3'"
    process = farm.ready("--command", command, SHOP_API_KEY="hunter2-hunter2")
    found = farm.over(farm.submit("prompt", {"text": "x"}, max_attempts=1))
    assert found.errors[0].error == f"sh ended with exit code 3: no credit {MASK}"
    told = [event["cause"] for event in farm.cli("events", "--queue", "--json").json["events"]]
    assert any(MASK in cause for cause in told)
    assert not any("hunter2" in cause for cause in told)
    _, lines = farm.end(process)
    shown = [line["text"] for line in lines if line["event"] == "output"]
    assert sorted(shown) == ["no credit hunter2-hunter2", "partly"], "a log is as the task wrote it"
    farm.ready("--command", "/no/such/program")
    assert (
        "cannot be started" in farm.over(farm.submit("prompt", {"text": "x"}, max_attempts=1)).errors[0].error
    )


def test_a_payload_that_is_no_prompt_is_dead_at_once(farm: Farm) -> None:
    farm.ready("--command", "cat")
    for payload in (None, {}, {"text": 3}, {"text": " "}, [], {"text": "x", "context": {"working_dir": 3}}):
        assert farm.over(farm.submit("prompt", payload)).attempts == 1


def test_the_folder_is_the_worker_s_to_grant(farm: Farm) -> None:
    allowed, outside = farm.folder / "allowed", farm.folder / "allowed-not"
    (allowed / "deep").mkdir(parents=True)
    outside.mkdir()
    (allowed / "way-out").symlink_to(outside)
    (farm.folder / "way-in").symlink_to(allowed)
    farm.ready("--command", "pwd", "--allow", str(allowed))

    def where(folder: object) -> object:
        found = farm.over(farm.submit("prompt", {"text": "x", "context": {"working_dir": folder}}))
        return found.result.output if found.state == "done" else found.errors[0].error  # type: ignore[union-attr]

    assert where(str(allowed)) == str(allowed)
    assert where(str(allowed / "deep" / ".." / "deep")) == str(allowed / "deep")
    assert where(str(farm.folder / "way-in" / "deep")) == str(allowed / "deep")
    for bad in (outside, allowed / ".." / "allowed-not", allowed / "way-out", "/", farm.folder):
        assert "outside what this worker allows" in str(where(str(bad)))
    assert "is not a folder" in str(where(str(allowed / "none")))


def test_environment_is_the_worker_s(farm: Farm) -> None:
    farm.ready("--command", "env", CLAUDECODE="1", GIT_INDEX_FILE="/x", ANTHROPIC_API_KEY="kept")
    job = farm.submit("prompt", {"text": "x", "env": {"EVIL": "1"}})
    lines = farm.over(job).result.output.splitlines()  # type: ignore[union-attr]
    names = {line.partition("=")[0] for line in lines}
    assert "ANTHROPIC_API_KEY" in names
    assert f"PANEVIEW_JOB={job}" in lines
    assert not names & {"CLAUDECODE", "GIT_INDEX_FILE", "EVIL"}


def test_nothing_is_left_running(farm: Farm) -> None:
    script = (
        "setsid sleep 4321.1 & (sleep 4321.2 &) ; sleep 4321.3 & trap '' TERM; sleep 4321.4; sleep 4321.5"
    )
    farm.ready("--command", f'sh -c "{script}"')
    late = farm.submit("prompt", {"text": "x"}, timeout=3.0, max_attempts=1)
    wait_until(lambda: len(alive_with("4321.")) >= 4)
    assert farm.over(late).errors[0].error == "not done within 3 s"
    wait_until(lambda: not alive_with("4321."))


class Unwanted:
    """The wish that a program ends as soon as it has begun."""

    cancelled = True

    def on_cancel(self, _wake: Callable[[], None], /) -> AbstractContextManager[None]:
        return nullcontext()


def test_a_program_is_ended_also_by_a_worker_without_a_descriptor_left(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.open(os.devnull, os.O_RDONLY)
    os.close(spare)
    for more in range(12):  # with one of these numbers it can be started, and no more
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare + more, limits[1]))
        try:
            with suppress(OSError):
                child.run(Unwanted(), ["sleep", "4323"], text="", cwd=tmp_path, env=os.environ, show=print)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert not alive_with("4323")


def test_a_program_that_cannot_be_watched_over_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other threads may have taken the last descriptor between its start and the first look at it."""

    def lacking(_pid: int) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(child.proc, "identify", lacking)
    with pytest.raises(OSError, match="Too many open files"):
        child.run(Unwanted(), ["sleep", "4324"], text="", cwd=tmp_path, env=os.environ, show=print)
    assert not alive_with("4324")


def test_a_background_process_does_not_hold_the_result_up(farm: Farm) -> None:
    farm.ready("--command", "sh -c 'sleep 4322 & echo done'")
    assert farm.over(farm.submit("prompt", {"text": "x"})).result.output == "done"  # type: ignore[union-attr]
    assert not alive_with("4322")


def test_control_characters_reach_no_terminal(farm: Farm) -> None:
    farm.submit("prompt", {"text": "evil\x1b]0;title\x07 \x9b2J"})
    plain = farm.cli("worker", "--once", "--command", "cat").out
    assert plain.replace("\n", "").isprintable()
