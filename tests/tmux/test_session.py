from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from paneview.proc import ProcessTable, identify, marker, send
from paneview.tmux.errors import SessionTaken, TmuxError, TmuxGone
from paneview.tmux.launch import HEIGHT, WIDTH
from paneview.tmux.session import TmuxSession
from paneview.tmux.spawn import PaneInfo
from tests.harness import Sandbox, eventually
from tests.tmux.conftest import HUB, NAME, Bench, Open

# What people have, or could have, in their configuration, all at once.
NASTY = """
set -g base-index 5
setw -g pane-base-index 3
set -g renumber-windows on
set -g default-command 'echo nasty; exec sleep 1000'
set -g default-shell /bin/bash
set -g default-size 33x11
setw -g remain-on-exit failed
set -g destroy-unattached on
set -g detach-on-destroy off
setw -g automatic-rename on
setw -g allow-rename on
setw -g aggressive-resize on
set -g update-environment 'HOME PATH'
set -g history-limit 0
set -g set-titles on
setw -g window-size smallest
set-hook -g after-new-session 'split-window "sleep 1000"'
set-hook -g session-created 'new-window -n hooked "sleep 1000"'
set-hook -g after-new-window 'split-window "sleep 1000"'
set-hook -g window-linked 'split-window "sleep 1000"'
set-hook -g pane-died 'kill-pane'
set-hook -g pane-exited 'kill-session'
set-hook -g after-set-option 'display-message -p nasty'
set-hook -g after-pipe-pane 'pipe-pane'
set-hook -g after-display-message 'set -g @nasty 1'
set-hook -g after-list-panes 'kill-session'
set-hook -g window-layout-changed 'kill-pane'
"""


async def test_a_task_is_its_pane(bench: Bench) -> None:
    pane = await bench.spawn("echo hello; exec sleep 1000", task="web", env={"A": "b c"})
    assert await bench.logged(1, "hello\n") == "hello\n"
    (same,) = await bench.session.panes()
    assert same == pane
    assert (same.task, same.run, same.dead, same.piped) == ("web", 1, False, True)
    assert identify(pane.pid)


async def test_many_at_once(bench: Bench) -> None:
    panes = await asyncio.gather(*(bench.spawn("exec sleep 1000", task=f"t{n}") for n in range(40)))
    assert sorted(await bench.session.panes(), key=lambda p: p.run) == sorted(panes, key=lambda p: p.run)
    assert len({pane.window_id for pane in panes}) == 40


async def test_environment_folder_and_odd_names(bench: Bench, folder: Path, key: str) -> None:
    odd = folder / "a #{pid} #[b] 'c' %d\n;e"
    odd.mkdir()
    value = "line 1\nline '2' \\ \"$HOME\" #{pid}; kill-server \t\x1b日"
    command = 'printf "%s|" "$PWD" "$ODD" "$PANEVIEW_RUN" "$(stty size)"'
    pane = await bench.spawn(command, cwd=odd, env={"ODD": value}, window_name="x #{pid} #(date)")
    await bench.ended(pane)
    size = f"{HEIGHT} {WIDTH}|"
    assert await bench.logged(1, size) == f"{odd}|{value}|{bench.key}-1|{size}"


async def test_large_environments_and_commands(bench: Bench) -> None:
    await bench.spawn("echo ${#BIG}; exec sleep 1000", env={"BIG": "'" * 60_000 + "x" * 68_000})
    assert await bench.logged(1, "\n") == "128000\n"
    await bench.spawn(f"echo {'y' * 100_000} | wc -c")
    assert await bench.logged(2, "\n") == "100001\n"


async def test_what_no_program_can_be_given_is_refused_with_its_reason(bench: Bench) -> None:
    """The system would fail the start, and all that could be told of it is an exit code of 1."""
    longest = 32 * os.sysconf("SC_PAGE_SIZE") - 1  # bytes beside the NUL
    room = longest - len("exec printf %.4s ")
    await bench.spawn(f"printf %.4s {'ü' * (room // 2)}")
    assert await bench.logged(1, "üü") == "üü"
    await bench.spawn("echo ${#LONG}", env={"LONG": "x" * (longest - len("LONG="))})
    assert await bench.logged(2, "\n") == f"{longest - len('LONG=')}\n"
    with pytest.raises(TmuxError, match=f"the command is too long for the system: {longest + 2} bytes"):
        await bench.spawn(f"printf %.4s {'x' * (room + 1)}")
    with pytest.raises(TmuxError, match=r"\$LONG is too long for the system"):
        await bench.spawn("true", env={"LONG": "x" * (longest + 1 - len("LONG="))})


async def test_a_wrong_folder_is_refused(bench: Bench, folder: Path) -> None:
    with pytest.raises(TmuxError, match="does not exist"):
        await bench.spawn("true", cwd=folder / "missing")
    with pytest.raises(TmuxError, match="does not exist"):
        await bench.spawn("true", spool_prefix=folder / "missing" / "1.")
    assert await bench.session.panes() == []


async def test_tasks_get_our_environment_and_not_the_servers(
    sandbox: Sandbox, open_session: Open, folder: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("STALE", "from whoever started the server")
    sandbox.tmux("new-session", "-d", "-s", "theirs", "sleep 1000")
    monkeypatch.delenv("STALE")
    bench = Bench(await open_session(FRESH="1"), folder, key)
    await bench.ended(await bench.spawn("env; echo done."))
    names = {line.partition("=")[0] for line in (await bench.logged(1, "done.")).splitlines()}
    assert {"FRESH", "PATH", "TMUX", "TERM"} <= names
    assert "STALE" not in names
    again = Bench(await open_session(NEWER="2"), folder, key, runs=1)
    await again.ended(await again.spawn("env; echo done."))
    names = {line.partition("=")[0] for line in (await again.logged(2, "done.")).splitlines()}
    assert "NEWER" in names


async def test_adoption_finds_all_panes_again(open_session: Open, folder: Path, key: str) -> None:
    first = Bench(await open_session(), folder, key)
    live = await first.spawn("exec sleep 1000", task="live")
    dead = await first.spawn("exit 3", task="dead")
    assert (await first.ended(dead)).code == 3
    assert first.session._client
    first.session._client._process.kill()  # as if the supervisor had been killed
    second = await open_session()
    assert not second.created
    assert second.server_id == first.session.server_id
    found = {pane.task: pane for pane in await second.panes()}
    assert found["live"] == live
    assert (found["dead"].dead, found["dead"].run) == (True, 2)
    assert found["dead"].pid in (dead.pid, 0)  # none from tmux 3.8 on
    assert (await second.exit_status(dead.pane_id, first.specs[2].exit_file)).code == 3


async def test_respawn_uses_the_pane_again(bench: Bench) -> None:
    pane = await bench.spawn("seq 1 2000; exit 1", task="t")
    for _ in range(10):
        await bench.ended(pane)
        new = await bench.session.respawn(pane.pane_id, bench.spec("seq 1 2000; exit 1"))
        assert (new.pane_id, new.window_id, new.pipes, new.dead) == (pane.pane_id, pane.window_id, 1, False)
        assert new.run == pane.run + 1
        pane = new
    await bench.ended(pane)
    expected = "".join(f"{n}\n" for n in range(1, 2001))
    for run in range(1, 12):
        assert await bench.logged(run, "\n2000\n") == expected


async def test_a_pane_carries_what_its_run_goes_by(sandbox: Sandbox, bench: Bench) -> None:
    pane = await bench.spawn("exec sleep 1000", definition="one of 'these' 30")
    (found,) = await bench.session.panes()
    assert found.definition == pane.definition == "one of 'these' 30"
    again = await bench.session.respawn(pane.pane_id, bench.spec("exec sleep 1000", definition="two"))
    assert again.definition == "two"
    # As of an older version.
    sandbox.tmux("set-option", "-p", "-u", "-t", pane.pane_id, "@paneview_definition")
    (found,) = await bench.session.panes()
    assert (found.definition, found.task) == ("", "t")


async def test_respawn_of_a_pane_that_is_gone(bench: Bench) -> None:
    pane = await bench.spawn("exec sleep 1000")
    await bench.session.remove_pane(pane.pane_id)
    await bench.session.remove_pane(pane.pane_id)
    with pytest.raises(TmuxError, match="gone"):
        await bench.session.respawn(pane.pane_id, bench.spec("true"))
    assert await bench.session.pane(pane.pane_id) is None


async def test_respawn_never_ends_another_task(bench: Bench) -> None:
    pane = await bench.spawn("exec sleep 1000", task="other")
    with pytest.raises(TmuxError, match="not the task's"):
        await bench.session.respawn(pane.pane_id, bench.spec("true"))
    assert await bench.session.panes() == [pane]


async def test_a_users_split_is_not_ours(sandbox: Sandbox, bench: Bench) -> None:
    pane = await bench.spawn("exec sleep 1000")
    sandbox.tmux("split-window", "-t", pane.window_id, "sleep 1000")
    sandbox.tmux("new-window", "-t", f"={NAME}:", "-n", "odd: #{x}", "sleep 1000")
    assert await bench.session.panes() == [pane]
    assert await bench.session.pane(pane.pane_id) == pane


async def test_a_capture_has_whole_lines_with_colours_or_without(bench: Bench) -> None:
    pane = await bench.spawn(
        "seq -f 'line %.0f' 1 100; printf '\\033[31mred\\033[0m %0300d' 7; exec sleep 1000"
    )
    await eventually(lambda: "0007" in bench.log(1))
    text = await bench.session.capture(pane.pane_id, escapes=False)
    assert text.startswith("line 1\nline 2\n")
    assert "red " + "0" * 299 + "7" in text  # joined, though the window has 200 columns
    assert "\x1b[31mred" in await bench.session.capture(pane.pane_id)
    assert (await bench.session.capture(pane.pane_id, 2)).count("line") == HEIGHT
    assert "line 1\n" not in await bench.session.capture(pane.pane_id, 0)


async def test_paste_and_keys(bench: Bench) -> None:
    pane = await bench.spawn("stty -echo; echo ready; cat > pasted")
    await bench.logged(1, "ready")
    text = "first ' \" \\ #{pid} $HOME\n" + "second 日本\n" * 500 + "-x ;\n"
    await bench.session.paste(pane.pane_id, "")
    await bench.session.paste(pane.pane_id, text)
    await bench.session.send_keys(pane.pane_id, "typed; #{pid}", "-n", literal=True)
    await bench.session.send_keys(pane.pane_id, "Enter", "C-d")
    assert (await bench.ended(pane)).code == 0
    assert (bench.folder / "pasted").read_text() == text + "typed; #{pid}-n\n"


async def test_paste_is_bracketed_where_that_is_asked_for(sandbox: Sandbox, bench: Bench) -> None:
    sandbox.tmux("set-buffer", "mine")
    pane = await bench.spawn("stty -echo; printf '\\033[?2004h'; echo ready; cat > pasted")
    await bench.logged(1, "ready")
    with pytest.raises(TmuxError, match="can't find pane"):
        await bench.session.paste("%999", "not to be left behind")
    await bench.session.paste(pane.pane_id, "a\n")
    await bench.session.send_keys(pane.pane_id, "Enter", "C-d")
    await bench.ended(pane)
    assert (bench.folder / "pasted").read_bytes() == b"\x1b[200~a\n\x1b[201~\n"
    assert sandbox.tmux("list-buffers", "-F", "#{buffer_sample}") == "mine"


@pytest.fixture
def nasty(sandbox: Sandbox) -> str:
    sandbox.tmux_conf.write_text(NASTY)
    return NASTY


async def test_no_configuration_of_the_user_changes_what_is_seen(
    nasty: str, sandbox: Sandbox, open_session: Open, folder: Path, key: str
) -> None:
    bench = Bench(await open_session(), folder, key)
    quick = await asyncio.gather(*(bench.spawn("echo $0 hello; exit 3", task=f"q{n}") for n in range(5)))
    slow = await bench.spawn("printf '\\033]2;title\\007\\033kname\\033\\\\'; exec sleep 1000", task="slow")
    assert [(await bench.ended(pane)).code for pane in quick] == [3] * 5
    assert [pane.task for pane in await bench.session.panes()] == ["q0", "q1", "q2", "q3", "q4", "slow"]
    assert len(sandbox.tmux("list-panes", "-s", "-t", NAME).splitlines()) == 7  # with the hub's
    names = sandbox.tmux("list-windows", "-t", NAME, "-F", "#W #{window_width}").splitlines()
    assert names == ["paneview 200", "q0 200", "q1 200", "q2 200", "q3 200", "q4 200", "slow 200"]
    for run in range(1, 6):
        assert "hello\n" in await bench.logged(run, "hello\n")
    again = await bench.session.respawn(quick[0].pane_id, bench.spec("echo again; exit 4"))
    assert (await bench.ended(again)).code == 4
    await bench.session.remove_pane(quick[1].pane_id)
    assert len(await bench.session.panes()) == 5
    # Nobody is attached any more, and the session stays.
    await bench.session.close()
    assert identify(slow.pid)
    other = await open_session()
    assert not other.created
    assert slow.pane_id in {pane.pane_id for pane in await other.panes()}


async def test_the_users_options_are_as_they_were(
    nasty: str, sandbox: Sandbox, open_session: Open, folder: Path, key: str
) -> None:
    sandbox.tmux("new-session", "-d", "-s", "theirs", "sleep 1000", ";", "set", "destroy-unattached", "off")
    show = [["show-options", "-g"], ["show-options", "-gw"], ["show-options", "-s"], ["show-hooks", "-g"]]
    show += [
        ["show-options", "-t", "theirs"],
        ["show-environment", "-g"],
        ["show-environment", "-t", "theirs"],
    ]
    before = [sandbox.tmux(*command) for command in show]
    bench = Bench(await open_session(), folder, key)
    await bench.ended(await bench.spawn("exit 1"))
    pane = await bench.spawn("echo ready; exec sleep 1000")
    await bench.logged(2, "ready")
    await bench.session.paste(pane.pane_id, "x")
    await bench.session.destroy()
    after = [sandbox.tmux(*command) for command in show]
    assert after == before
    assert sandbox.tmux("list-sessions", "-F", "#S") == "theirs"


async def test_a_foreign_session_is_not_touched(sandbox: Sandbox, open_session: Open) -> None:
    sandbox.tmux("new-session", "-d", "-s", NAME, "sleep 1000")
    before = sandbox.tmux("show-options", "-t", NAME), sandbox.tmux("show-environment", "-t", NAME)
    with pytest.raises(SessionTaken):
        await open_session()
    assert (sandbox.tmux("show-options", "-t", NAME), sandbox.tmux("show-environment", "-t", NAME)) == before
    assert sandbox.tmux("list-clients") == ""


async def test_two_projects_on_one_server(open_session: Open, folder: Path, key: str) -> None:
    one, two = (
        Bench(await open_session(), folder, key),
        Bench(await open_session("other", key[::-1]), folder, key[::-1], runs=50),
    )
    await one.spawn("echo ready; exec sleep 1000")
    await two.spawn("echo ready; exec sleep 1000")
    await one.logged(1, "ready")  # a guard that is just being made may outlive its window
    await two.logged(51, "ready")
    assert [pane.run for pane in await one.session.panes()] == [1]
    assert [pane.run for pane in await two.session.panes()] == [51]
    await two.session.destroy()
    assert one.session.gone is None
    assert len(await one.session.panes()) == 1


async def test_open_while_we_are_in_the_hub_window(
    sandbox: Sandbox, tmux_socket: str, folder: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """The supervisor runs in a window of the session that it then joins, with the TMUX of that window."""
    session = await TmuxSession.open(NAME, None, key, os.environ, folder, HUB)
    await session.close()
    monkeypatch.setenv("TMUX", f"{tmux_socket},{session.server_id.pid},0")
    monkeypatch.setenv("TMUX_PANE", "%0")
    inside = await TmuxSession.open(NAME, None, key, os.environ, folder, HUB)
    assert not inside.created
    assert await inside.panes() == []
    await inside.close()


async def test_reopened_after_the_server_died(bench: Bench, open_session: Open) -> None:
    os.kill(bench.session.server_id.pid, 9)
    await eventually(lambda: bench.session.gone)
    with pytest.raises(TmuxGone):
        await bench.spawn("true")
    again = await open_session()
    assert again.created
    assert again.server_id != bench.session.server_id
    assert await again.panes() == []


async def test_destroy_ends_what_runs(bench: Bench) -> None:
    pane = await bench.spawn("echo ready; exec sleep 1000")
    await bench.logged(1, "ready")
    told: list[str] = []
    bench.session.on_gone = told.append
    await bench.session.destroy()
    await eventually(lambda: identify(pane.pid) is None)
    assert not told
    assert (await bench.session.exit_status(pane.pane_id, bench.specs[1].exit_file)).signal == 1


async def test_the_server_killed_at_any_moment(open_session: Open, folder: Path, key: str) -> None:
    """Whatever is under way then ends with an answer or with TmuxGone, and the next session works.

    A guard that was being forked as the server died may outlive it, known by its mark; the supervisor sweeps it.
    """
    for step in range(6):
        bench = Bench(await open_session(), folder, key, runs=100 * step)
        under_way = [asyncio.create_task(bench.spawn("exec sleep 1000", task=f"t{n}")) for n in range(8)]
        await asyncio.sleep(0.004 * step)
        os.kill(bench.session.server_id.pid, 9)
        outcomes = await asyncio.wait_for(asyncio.gather(*under_way, return_exceptions=True), 15)
        assert all(isinstance(outcome, PaneInfo | TmuxGone) for outcome in outcomes)
        await eventually(lambda bench=bench: bench.session.gone)
        await bench.session.close()
        await eventually(lambda step=step: _swept(key, range(100 * step, 100 * step + 10)))
    assert (await open_session()).created


def _swept(key: str, runs: range) -> bool:
    table = ProcessTable.read()
    left = [one for run in runs for one in table.members(None, marker(key, run))]
    send(signal.SIGKILL, left)
    return not left
