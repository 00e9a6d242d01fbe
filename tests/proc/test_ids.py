from __future__ import annotations

import os
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from paneview.proc import ProcessId, boot_id, identify, is_alive, portable, started_at
from paneview.proc.portable import PortableBackend, named_by_time
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
    assert len(source.boot_id().split()) == 1  # a heartbeat's file has it as its second word
    assert boot_id()
    here = identify(os.getpid())
    assert here
    assert started_at(here) < time.time()


def test_a_boot_keeps_its_name_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({named_by_time(1_700_000_000 + moved) for moved in (-1.0, 0.0, 0.4, 1.0)}) == 1
    assert named_by_time(1_700_000_000) != named_by_time(1_700_000_060)

    def sysctlbyname(name: bytes, value: Any, _size: Any, _new: None, _length: Any) -> int:
        value.value = b"5E1F0A"
        return 0 if name == b"kern.bootsessionuuid" else -1

    monkeypatch.setattr("ctypes.CDLL", lambda _name: SimpleNamespace(sysctlbyname=sysctlbyname))
    portable._boot_session.cache_clear()
    try:
        assert PortableBackend().boot_id() == "5E1F0A"  # as macOS tells it, whatever its clock says
    finally:
        portable._boot_session.cache_clear()


def test_a_process_keeps_its_identity_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_time(*, monotonic: bool = False) -> float:
        return 100.5 if monotonic else 163.5  # as psutil has it on macOS after a minute's step

    process = psutil.Process()
    monkeypatch.setattr(process, "_proc", SimpleNamespace(create_time=create_time))
    monkeypatch.setattr(process, "_create_time", None)
    monkeypatch.setattr("sys.platform", "darwin")
    assert portable.started(process) == 100.5
    monkeypatch.setattr("sys.platform", "freebsd14")
    assert portable.started(process) == 163.5


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
