"""Without the means to ask, a probe has no answer: neither yes nor no."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.harness import NO_DESCRIPTORS

ASK = """
import asyncio, sys
from pathlib import Path
from paneview.health import http, run_probe, shell  # loaded before there is nothing left to load them with
from paneview.health.specs import HttpProbe, ShellProbe, TcpProbe
spec = {
    "shell": ShellProbe(timeout=5, command="true"),
    "http": HttpProbe(timeout=5, url="http://127.0.0.1:9/"),
    "tcp": TcpProbe(timeout=5, host="localhost", port=9),
}[sys.argv[1]]

async def main():
    exec(sys.argv[2])
    result = await run_probe(spec, env={}, cwd=Path("/"), marker="scarce-probe")
    print(result.ok, result.asked, result.detail)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["shell", "http", "tcp"])
def test_nobody_is_ill_for_want_of_descriptors(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK, kind, NO_DESCRIPTORS], capture_output=True, text=True, check=False
    )
    assert done.stdout == "False False it cannot be asked: Too many open files\n", done.stderr
