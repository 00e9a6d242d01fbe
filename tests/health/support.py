"""Servers for the probes to ask: real sockets on loopback ports that nobody else uses."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from paneview.health import ProbeResult, ProbeSpec, run_probe

# Of this test process only: what has it is ended with a probe, machine-wide.
MARK = f"test{os.getpid()}-probe-1"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def ask(spec: ProbeSpec, marker: str = MARK, **environ: str) -> ProbeResult:
    """Run one probe from the root folder."""
    return await run_probe(spec, env={**os.environ, **environ}, cwd=Path("/"), marker=marker)


TURNS = 20  # of the event loop, more than it takes from accepting a connection to having it handled


@asynccontextmanager
async def serve(
    handler: Handler, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A server whose `handler` gets each connection; yields its port."""
    tasks: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the probe hung up first, or the test is over
        finally:
            writer.transport.abort()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        tasks.add(asyncio.create_task(speak(reader, writer)))

    server = await asyncio.start_server(connected, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:  # also of those whose turn to speak never came
            writer.transport.abort()
        await server.wait_closed()


def answer(*parts: bytes, requests: list[bytes] | None = None) -> Handler:
    """Read one request, write these parts, hang up."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if requests is not None:
            requests.append(request)
        for part in parts:
            writer.write(part)
            await writer.drain()
        writer.write_eof() if writer.can_write_eof() else None
        await reader.read()

    return handler


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept, and say nothing."""
    await reader.read(1)
    await asyncio.Event().wait()


def certificate(folder: Path) -> ssl.SSLContext:
    """A server's TLS with a certificate that it has signed itself."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context
