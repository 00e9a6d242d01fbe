"""Running a single probe: the only place that handles its time limit and duration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from paneview.health.result import ProbeFailed, ProbeResult, seconds
from paneview.health.specs import HttpProbe, ProbeSpec, ShellProbe, TcpProbe
from paneview.health.tcp import answer_at_once, place, probe_tcp
from paneview.proc import SCARCE


async def run_probe(spec: ProbeSpec, *, env: Mapping[str, str], cwd: Path, marker: str) -> ProbeResult:
    """Run a probe once. Never raises for a failing probe; cancellation kills what the probe has started.

    `env` is the whole environment and `cwd` the folder of a shell probe; `marker` marks its processes and must
    not be in use by any other process, because all that carry it are killed at the end.
    """
    began = time.monotonic()
    if isinstance(spec, TcpProbe) and (answer := answer_at_once(spec)):
        return replace(answer, duration=time.monotonic() - began)
    try:
        if isinstance(spec, ShellProbe):
            result = await _shell(spec, env, cwd, marker)
        else:
            async with asyncio.timeout(spec.timeout):
                result = await _ask(spec)
    except ProbeFailed as failure:
        result = ProbeResult(False, str(failure), failure.output)
    except TimeoutError:
        result = ProbeResult(False, f"no answer within {seconds(spec.timeout)}{_from(spec)}")
    except OSError as error:
        if error.errno not in SCARCE:
            raise
        result = ProbeResult(False, f"it cannot be asked: {error.strerror}", asked=False)
    return replace(result, duration=time.monotonic() - began)


async def _shell(spec: ShellProbe, env: Mapping[str, str], cwd: Path, marker: str) -> ProbeResult:
    from paneview.health.shell import probe_shell  # noqa: PLC0415 - loads subprocess, only if there is such a probe

    return await probe_shell(spec, env, cwd, marker)


async def _ask(spec: ProbeSpec) -> ProbeResult:
    if isinstance(spec, TcpProbe):
        return await probe_tcp(spec)
    assert isinstance(spec, HttpProbe)
    from paneview.health.http import probe_http  # noqa: PLC0415 - loads h11, only if there is such a probe

    return await probe_http(spec)


def _from(spec: ProbeSpec) -> str:
    if isinstance(spec, HttpProbe):
        return f" from {spec.url}"
    return f" from {place(spec.host, spec.port)}" if isinstance(spec, TcpProbe) else ""
