"""What the machine and tmux take by themselves, without a supervisor."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from paneview.tmux.launch import HEIGHT, WIDTH
from tests.bench.place import Place

SESSION = f"new-session -d -s floor -x {WIDTH} -y {HEIGHT} 'sleep 100000'"  # panes as large as ours


def bare_python() -> float:
    """Milliseconds to start this Python, with nothing to do."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return 1000 * (time.perf_counter() - began)


def _tmux(place: Place, script: str) -> None:
    """Start a tmux server of its own that runs ``script``, a file of tmux commands."""
    file = place.root / "floor.conf"
    file.write_text(script)
    place.spawn(
        "tmux", "-S", place.tmux_socket, "-f", "/dev/null", "start-server", ";", "source-file", str(file)
    )


def tmux_windows(number: int, *, piped: bool) -> float:
    """Milliseconds until ``number`` windows, made by one tmux command file, all run their task.

    ``piped``: each also gets the options and the log pipe that a supervisor needs.
    """
    place = Place()
    try:
        lines = [SESSION]
        _tmux(place, lines[0] + "\n")
        _wait_for_server(place)
        made = [_window(place, index, piped=piped) for index in range(number)]
        file = place.root / "windows.conf"
        file.write_text("\n".join(made) + "\n")
        began = time.perf_counter()
        place.spawn("tmux", "-S", place.tmux_socket, "source-file", str(file))
        last, _ = place.bell.count(number)
        return 1000 * (last - began)
    finally:
        place.close()


def _window(place: Place, index: int, *, piped: bool) -> str:
    command = f'new-window -d -n w{index} -t floor: "{place.ring(f"w{index}")}; exec sleep 100000"'.replace(
        "$", r"\$"
    )
    if not piped:
        return command
    target = f"floor:w{index}"
    return (
        f"{command} ; set-option -p -t {target} remain-on-exit on ; set-option -p -t {target} @task w{index} ; "
        f"pipe-pane -t {target} 'exec split -b 16m -a 6 -d - {place.root}/w{index}.'"
    )


def _wait_for_server(place: Place) -> None:
    while place.run("tmux", "-S", place.tmux_socket, "has-session", "-t", "floor").returncode:
        time.sleep(0.01)


def seq(lines: int, *, piped: bool) -> float:
    """Seconds that ``seq 1 lines`` takes in a pane of a bare tmux, with or without a pipe to a file."""
    place = Place()
    try:
        _tmux(place, SESSION + "\n")
        _wait_for_server(place)
        log = Path(place.root) / "seq.log"
        command = f"{place.ring('began')}; seq 1 {lines}; {place.ring('ended')}"
        window = ["new-window", "-d", "-t", "floor:", command]
        pipe = [";", "pipe-pane", "-t", "floor:1", f"exec cat > {log}"] if piped else []
        place.run("tmux", "-S", place.tmux_socket, *window, *pipe)
        began, _ = place.bell.wait(lambda line: line.startswith("began"))
        ended, _ = place.bell.wait(lambda line: line.startswith("ended"))
        return ended - began
    finally:
        place.close()
