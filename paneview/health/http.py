"""Does the web server answer correctly? One GET over a new connection, with h11 for the protocol.

A client library would do, but costs 80 ms at start-up and more per probe than all of this; http.client would
need a thread for each probe. Redirects are an answer like any other (300 to 399 is healthy unless
`health_status` says otherwise) and are not followed: the probe is about this server, not the one redirected to.

Certificates are verified except on the loopback interface, where those of development servers are self-signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import quote

import h11

from paneview.health.result import MAX_OUTPUT, ProbeFailed, ProbeResult
from paneview.health.specs import DEFAULT_PORTS, HttpProbe, is_loopback
from paneview.health.tcp import connect, place
from paneview.patterns import Pattern, PatternError
from paneview.proc import SCARCE

if TYPE_CHECKING:
    import ssl

# The body is read to its end even without a pattern (a server that is cut off may write a traceback into the
# task's log), but with a limit: an address may stream for ever.
MAX_BODY = 256 * 1024
# Parts of an answer that are looked at without letting the event loop do something else. Some servers send each byte
# as a chunk of its own, and ten thousand of these take half a second.
PARTS_AT_ONCE = 32
_contexts: dict[bool, ssl.SSLContext] = {}


async def probe_http(spec: HttpProbe) -> ProbeResult:
    """Send the request and judge the answer. Raises ProbeFailed, OSError if resources are short."""
    try:
        status, body = await _get(spec)
    except h11.RemoteProtocolError as error:
        raise ProbeFailed(f"no proper HTTP answer from {spec.url}: {error}") from error
    except OSError as error:
        if error.errno in SCARCE:
            raise
        raise ProbeFailed(f"{spec.url} hung up: {_reason(error)}") from error
    output = body[:MAX_OUTPUT].decode("utf-8", "replace")
    detail = f"HTTP {status} from {spec.url}"
    if not any(low <= status <= high for low, high in spec.statuses):
        raise ProbeFailed(detail, output)
    if spec.body is not None:
        try:
            # On a thread, because a pattern may take long.
            at = await asyncio.to_thread(_sought(spec.body).find, body.decode("utf-8", "replace"))
        except PatternError as error:
            raise ProbeFailed(f"{detail}, but health_body {spec.body!r}: {error}", output) from error
        if at < 0:
            raise ProbeFailed(f"{detail}, but its body does not contain {spec.body!r}", output)
    return ProbeResult(True, detail, output)


@lru_cache(64)
def _sought(pattern: str) -> Pattern:
    return Pattern(pattern, multiline=True)


async def _get(spec: HttpProbe) -> tuple[int, bytes]:
    connection = h11.Connection(h11.CLIENT)
    async with _stream(spec) as (reader, writer):
        writer.write(connection.send(_request(spec)) + connection.send(h11.EndOfMessage()))
        status, body, received = 0, bytearray(), False
        for part in count(1):
            if part % PARTS_AT_ONCE == 0:
                await asyncio.sleep(0)
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(65536)
                if not (received := received or bool(data)):
                    raise ProbeFailed(f"{spec.url} hung up without an answer")
                connection.receive_data(data)
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or len(body) >= MAX_BODY:
                break
    return status, bytes(body)


def _request(spec: HttpProbe) -> h11.Request:
    parts = spec.parts
    host = (parts.hostname or "").encode("idna").decode()
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    named = place(host, port)
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (
        "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?") if parts.query else ""
    )
    headers = [
        ("Host", named if port != DEFAULT_PORTS[parts.scheme] else named.rpartition(":")[0]),
        ("User-Agent", "paneview"),
        ("Accept", "*/*"),
        ("Connection", "close"),
    ]
    return h11.Request(method="GET", target=target, headers=headers)


@asynccontextmanager
async def _stream(spec: HttpProbe) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    parts = spec.parts
    host = parts.hostname or ""
    tls = _tls(host) if parts.scheme == "https" else None
    connection = await connect(host, parts.port or DEFAULT_PORTS[parts.scheme])
    try:
        reader, writer = await asyncio.open_connection(
            sock=connection, ssl=tls, server_hostname=host if tls else None
        )
    except OSError as error:  # from TLS: a bad certificate, or no TLS at all
        connection.close()
        raise ProbeFailed(
            f"no TLS connection to {place(host, parts.port or 443)}: {_reason(error)}"
        ) from error
    except BaseException:
        connection.close()
        raise
    try:
        yield reader, writer
    finally:
        # Don't wait for an orderly close: the answer is there, or the time is up.
        writer.transport.abort()


def _tls(host: str) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - costs 15 ms and some megabytes, and only https needs it

    checked = not is_loopback(host)
    if checked not in _contexts:
        context = _contexts[checked] = ssl.create_default_context()
        if not checked:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    return _contexts[checked]


def _reason(error: OSError) -> str:
    return str(getattr(error, "verify_message", "") or error.strerror or error or type(error).__name__)
