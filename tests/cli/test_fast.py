"""``paneview status --json`` has 30 ms. The modules it may import are pinned, since imports take most of the time."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import paneview
from paneview.config import locate, paths
from tests.cli.support import arun
from tests.control.support import STATUS, serving

if TYPE_CHECKING:
    from tests.cli.support import Done

PROGRAM = """
import sys
from paneview.cli import main
status = main(["status", "--json"])
print(*sys.modules, file=sys.stderr)
sys.exit(status)
"""
AT_ONCE = """
import os, runpy, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "paneview.cli.errors":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
runpy.run_module("paneview", run_name="__main__")
"""
HEAVY = {
    "argparse",
    "asyncio",
    "dataclasses",
    "enum",
    "json",
    "logging",
    "pathlib",
    "msgspec",
    "re",
    "rich",
    "socket",
}
HEAVY |= {
    "sqlite3",
    "subprocess",
    "textual",
    "tomllib",
    "typing",
    "importlib.metadata",
    "libtmux",
    "psutil",
    "hashlib",
}
OURS = {"paneview", "paneview.cli", "paneview.config", "paneview.config.locate", "paneview.control"}
OURS |= {
    f"paneview.cli.{name}" for name in ("errors", "info", "loading", "output", "parser", "place", "verbs")
}
OURS |= {"paneview.control.blocking", "paneview.control.errors"}


def socket_of(project: Path) -> Path:
    return paths.control_socket(paths.make_project_dir(project / "paneview.toml", "demo"))


async def test_status_as_json_loads_nothing_heavy(project: Path) -> None:
    async with serving(socket_of(project)):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            cwd=project,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert json.loads(out) == {"ok": True, **STATUS}
    loaded = set(err.decode().split())
    assert not loaded & HEAVY
    assert {name for name in loaded if name.startswith("paneview")} == OURS


def test_ctrl_c_while_the_first_modules_are_loaded_leaves_no_trace(project: Path) -> None:
    done = subprocess.run([sys.executable, "-c", AT_ONCE], check=False, cwd=project, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


async def test_a_command_for_the_queue_loads_nothing_of_workers_or_event_loops(project: Path) -> None:
    program = PROGRAM.replace('"status", "--json"', '"jobs"')
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=project, stderr=subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 0, err
    loaded = set(err.decode().split())
    assert not loaded & {
        "asyncio",
        "logging",
        "psutil",
        "msgspec",
        "rich",
        "textual",
        "paneview.worker.worker",
    }


async def test_status_is_found_from_a_folder_below(project: Path) -> None:
    below = project / "src" / "deep"
    below.mkdir(parents=True)
    async with serving(socket_of(project)):
        done: Done = await arun("--json", "ls", cwd=below)
    assert done.json["session"] == "demo"


def test_the_strings_of_the_fast_path_are_the_paths_of_everyone_else(project: Path) -> None:
    file = project / "paneview.toml"
    folder = paths.make_project_dir(file, "demo")
    assert locate.find_file(str(project)) == str(file)
    assert locate.find_project_dir(str(file)) == str(folder)
    assert locate.control_socket(str(folder)) == str(paths.control_socket(folder))
    assert folder.name == f"demo-{paths.project_key(file)}"


def test_a_long_state_folder_gets_a_short_socket(project: Path) -> None:
    folder = project / ("x" * 90) / "demo-0123456789"
    assert len(str(paths.control_socket(folder))) <= locate.MAX_SOCKET_PATH
    assert paths.control_socket(folder).name == "0123456789.sock"


def test_the_version_costs_no_import(project: Path) -> None:
    code = "import sys; from paneview.cli import main; main(['--version']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, modules = done.stdout.splitlines()
    assert version == f"paneview {paneview.__version__}"
    assert not set(modules.split()) & (HEAVY - {"enum", "json", "re", "typing"})


def test_no_garbage_is_looked_for_while_a_command_is_loaded() -> None:
    code = (
        "import gc; from paneview.cli.loading import load\n"
        "gc.callbacks.append(lambda *_: print('collected'))\n"
        "print(load('paneview.cli.queue.jobs').__name__, gc.isenabled(), gc.get_freeze_count() > 10_000)\n"
        "try: load('paneview.cli.nothing')\n"
        "except ImportError: print(gc.isenabled())"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:4] == ["paneview.cli.queue.jobs", "True", "True", "True"]
