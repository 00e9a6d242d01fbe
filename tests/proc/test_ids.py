from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from paneview.proc import ProcessId, boot_id, identify, is_alive, started_at
from paneview.proc.row import Backend
from tests.harness import NO_DESCRIPTORS, wait_until
from tests.proc.conftest import Run, identity


def test_a_process_is_itself_until_it_ends(run: Run, source: Backend) -> None:
    process = run("exec sleep 60")
    this = identity(process, source)
    assert is_alive(this, source)
    process.kill()
    wait_until(lambda: not is_alive(this, source))
    assert identify(process.pid, source) is None  # though it is a zombie: nobody has waited for it yet


def test_a_later_process_of_the_same_number_is_another(run: Run, source: Backend) -> None:
    this = identity(run("exec sleep 60"), source)
    assert not is_alive(ProcessId(this.pid, this.start - 1), source)


def test_no_such_process(source: Backend) -> None:
    assert identify(2**22 + 1, source) is None


def test_start_time_is_the_clocks(run: Run, source: Backend) -> None:
    before = time.time()
    this = identity(run("exec sleep 60"), source)
    # psutil rounds the time of boot to a second.
    assert before - 1.1 <= source.started_at(this.start) <= time.time() + 1.1


def test_boot_id_names_the_boot(source: Backend) -> None:
    assert source.boot_id() == source.boot_id() != ""
    assert boot_id()
    here = identify(os.getpid())
    assert here
    assert started_at(here) < time.time()


LOOK = f"""
import os, sys
from paneview.proc import ProcessTable, identify, is_alive, keep_spare
me = identify(os.getpid())
if sys.argv[1] == "spare":
    keep_spare()
{NO_DESCRIPTORS}
try:
    print(is_alive(me), me.pid in ProcessTable.read().rows, is_alive(me))
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="nothing is opened elsewhere")
@pytest.mark.parametrize(("spare", "told"), [("spare", "True True True\n"), ("", "Too many open files\n")])
def test_who_cannot_be_looked_at_is_not_gone(spare: str, told: str) -> None:
    argv = [sys.executable, "-c", LOOK, spare]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == told
