from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from paneview.proc import ProcessTable
from paneview.tmux.control import ControlClient
from paneview.tmux.errors import TmuxError, TmuxGone, TmuxMissing
from paneview.tmux.quote import command
from tests.harness import Sandbox, eventually
from tests.tmux.conftest import Bench, Open


def say(text: str) -> str:
    return command("display-message", "-p", text)


@pytest.fixture
def client(bench: Bench) -> ControlClient:
    assert bench.session._client
    return bench.session._client


async def test_an_answer_for_each_command(client: ControlClient) -> None:
    assert await client.send(say("a b"), say(""), say("c")) == ["a b", "", "c"]


async def test_an_error_ends_its_group_and_no_other(client: ControlClient) -> None:
    refused = client.send(say("1"), command("kill-window", "-t", "@999"), say("2"))
    unknown = client.send(command("no-such-command"))
    fine = client.send(say("3"), say("4"))
    with pytest.raises(TmuxError, match="can't find window") as caught:
        await refused
    assert caught.value.replies == ("1",)
    with pytest.raises(TmuxError, match="no-such-command"):
        await unknown
    assert await fine == ["3", "4"]


async def test_hundreds_at_once_with_errors_between(client: ControlClient) -> None:
    good = [client.send(say(f"first {n}"), say(f"second {n}")) for n in range(300)]
    bad = [client.send(say("x"), command("select-window", "-t", f"@{n}")) for n in range(900, 950)]
    more = [client.send(say(f"again {n}")) for n in range(300)]
    assert await asyncio.gather(*good) == [[f"first {n}", f"second {n}"] for n in range(300)]
    assert all(isinstance(e, TmuxError) for e in await asyncio.gather(*bad, return_exceptions=True))
    assert await asyncio.gather(*more) == [[f"again {n}"] for n in range(300)]


async def test_what_cannot_be_sent_is_not_waited_for(client: ControlClient) -> None:
    with pytest.raises(UnicodeEncodeError):
        client.send(say("\ud800"))
    await asyncio.sleep(0.01)  # time passes
    assert client.silent_for == 0
    assert await client.send(say("heard")) == ["heard"]


async def test_one_who_gave_up_waiting_disturbs_nobody(client: ControlClient) -> None:
    client.send(say("unheard")).cancel()
    assert await client.send(say("heard")) == ["heard"]


async def test_what_hooks_print_is_nobodys_answer(sandbox: Sandbox, client: ControlClient) -> None:
    sandbox.tmux("set-hook", "-g", "after-rename-window", "display-message -p intruder")
    answers = await client.send(say("1"), command("rename-window", "x"), say("2"))
    assert answers == ["1", "", "2"]
    assert await client.send(say("3")) == ["3"]


async def test_lookalikes_in_an_answer(bench: Bench, client: ControlClient) -> None:
    lines = f"%begin 1 2 1\n%end {int(time.time())} 3 1\n%error 1 1 1\n%exit\n"
    await client.send(command("set-buffer", "-b", "b", lines))
    assert await client.send(command("show-buffer", "-b", "b"), say("next")) == [lines, "next"]
    assert bench.session.gone is None


async def test_umlauts_in_a_plain_locale(monkeypatch: pytest.MonkeyPatch, open_session: Open) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    session = await open_session()
    assert session._client
    assert await session._client.send(say("Grüße 🎉")) == ["Grüße 🎉"]


async def test_a_dead_server_fails_everything_at_once(bench: Bench, client: ControlClient) -> None:
    told: list[str] = []
    bench.session.on_gone = told.append
    os.kill(bench.session.server_id.pid, signal.SIGSTOP)
    waiting = [client.send(say(str(n))) for n in range(10)]
    await asyncio.sleep(0)
    os.kill(bench.session.server_id.pid, signal.SIGKILL)
    outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert all(isinstance(outcome, TmuxGone) for outcome in outcomes)
    with pytest.raises(TmuxGone):
        await client.send(say("too late"))
    assert len(told) == 1


async def test_our_client_killed_is_told_too(bench: Bench, client: ControlClient) -> None:
    told: list[str] = []
    bench.session.on_gone = told.append
    client._process.kill()
    await eventually(lambda: told)
    assert "lost" in told[0]


async def test_session_killed_by_the_user(sandbox: Sandbox, bench: Bench) -> None:
    """Also where their configuration moves clients of a dying session to another one."""
    sandbox.tmux("set", "-g", "detach-on-destroy", "off")
    sandbox.tmux("new-session", "-d", "-s", "theirs", "sleep 1000")
    told: list[str] = []
    bench.session.on_gone = told.append
    sandbox.tmux("kill-session", "-t", "=proj")
    await eventually(lambda: told)
    assert "theirs" in sandbox.tmux("list-sessions")


async def test_close_ends_the_client_alone(sandbox: Sandbox, bench: Bench, client: ControlClient) -> None:
    told: list[str] = []
    bench.session.on_gone = told.append
    await bench.session.close()
    assert sandbox.tmux("list-clients") == ""
    assert "proj" in sandbox.tmux("list-sessions")
    assert not told
    with pytest.raises(TmuxGone):
        await client.send(say("x"))


async def test_the_client_has_a_session_of_its_own(client: ControlClient) -> None:
    assert ProcessTable.read().rows[client._process.pid].session == client._process.pid


async def test_a_tmux_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TmuxMissing):
        await ControlClient.open(["no-such-tmux"], {"PATH": "/nonexistent"}, print)


async def test_a_refused_start_says_why(sandbox: Sandbox, bench: Bench) -> None:
    argv = ["tmux", "-S", sandbox.tmux_socket, "-C", "attach-session", "-t", "=nowhere"]
    with pytest.raises(TmuxError, match="can't find session"):
        await ControlClient.open(argv, dict(os.environ), print)
