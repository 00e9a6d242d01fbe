from __future__ import annotations

import asyncio
import http.server
import shutil
import threading
from pathlib import Path

import pytest

from paneview.health import HttpProbe
from paneview.health.result import MAX_OUTPUT
from tests.harness import free_port
from tests.health.support import answer, ask, certificate, serve, silent

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize(
    ("status", "statuses", "ok"),
    [
        (200, ((200, 399),), True),
        (302, ((200, 399),), True),
        (404, ((200, 399),), False),
        (503, ((200, 399),), False),
        (503, ((200, 299), (503, 503)), True),
        (301, ((200, 200),), False),
    ],
)
async def test_status(status: int, statuses: tuple[tuple[int, int], ...], ok: bool) -> None:
    async with serve(answer(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nLocation: /x\r\n\r\n" % status)) as port:
        url = f"http://127.0.0.1:{port}/health"
        result = await ask(HttpProbe(5, url, statuses))
    assert (result.ok, result.detail) == (ok, f"HTTP {status} from {url}")
    assert 0 < result.duration < 5


@pytest.mark.parametrize(("body", "ok"), [("hel+o$", True), ("^hello", True), ("Hello", False), (None, True)])
async def test_body(body: str | None, ok: bool) -> None:
    async with serve(answer(OK)) as port:
        result = await ask(HttpProbe(5, f"http://127.0.0.1:{port}/", body=body))
    assert result.ok is ok
    assert result.output == "hello"
    if not ok:
        assert result.detail.endswith("but its body does not contain 'Hello'")


@pytest.mark.parametrize(
    "parts",
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nhel\r\n", b"2\r\nlo\r\n0\r\n\r\n"),
        (b"HTTP/1.0 200 OK\r\n\r\n", b"hel", b"lo"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", OK),
    ],
)
async def test_every_way_to_send_a_body(parts: tuple[bytes, ...]) -> None:
    async with serve(answer(*parts)) as port:
        result = await ask(HttpProbe(5, f"http://127.0.0.1:{port}/", body="^hello$"))
    assert result.ok, result.detail


async def test_a_body_in_very_many_pieces_holds_nothing_else_up() -> None:
    pieces = 4000
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with serve(answer(head + b"1\r\nx\r\n" * pieces + b"0\r\n\r\n")) as port:
        turning = asyncio.create_task(turn())
        result = await ask(HttpProbe(5, f"http://127.0.0.1:{port}/"))
        turning.cancel()
    assert result.ok, result.detail
    assert result.output == "x" * pieces
    assert turns > pieces / 40


async def test_a_request_has_an_encoded_path_and_says_who_asks() -> None:
    requests: list[bytes] = []
    async with serve(answer(OK, requests=requests)) as port:
        await ask(HttpProbe(5, f"http://localhost:{port}/größe/%20x?q=a b&c=d#part"))
    assert requests[0].split(b"\r\n") == [
        b"GET /gr%C3%B6%C3%9Fe/%20x?q=a%20b&c=d HTTP/1.1",
        b"Host: localhost:%d" % port,
        b"User-Agent: paneview",
        b"Accept: */*",
        b"Connection: close",
        b"",
        b"",
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_localhost_is_both(host: str) -> None:
    async with serve(answer(OK), host) as port:
        assert (await ask(HttpProbe(5, f"http://localhost:{port}"))).ok


async def test_nobody_there() -> None:
    port = free_port()
    result = await ask(HttpProbe(5, f"http://localhost:{port}/"))
    assert (result.ok, result.detail) == (False, f"connection refused on localhost:{port}")


async def test_no_answer_in_time() -> None:
    async with serve(silent) as port:
        result = await ask(HttpProbe(0.2, f"http://127.0.0.1:{port}/"))
    assert (result.ok, result.detail) == (False, f"no answer within 0.2 s from http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (b"", "hung up without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no proper HTTP answer from"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "no proper HTTP answer from"),
    ],
)
async def test_what_is_no_answer(sent: bytes, detail: str) -> None:
    async with serve(answer(sent)) as port:
        result = await ask(HttpProbe(5, f"http://127.0.0.1:{port}/"))
    assert not result.ok
    assert detail in result.detail


async def test_an_endless_answer() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"\xff" * 65536)
            await writer.drain()

    async with serve(flood) as port:
        result = await ask(HttpProbe(10, f"http://127.0.0.1:{port}/"))
    assert result.ok, result.detail
    assert len(result.output) <= MAX_OUTPUT


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes a certificate with openssl")
async def test_https(tmp_path: Path) -> None:
    async with serve(answer(OK), tls=certificate(tmp_path)) as port:
        result = await ask(HttpProbe(5, f"https://localhost:{port}/", body="hello"))
        assert result.ok, result.detail
        spoken_plainly = await ask(HttpProbe(5, f"http://127.0.0.1:{port}/"))
        assert not spoken_plainly.ok


async def test_https_to_a_server_that_speaks_http() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad request syntax\r\n\r\n")
        await reader.read()

    async with serve(refuse) as port:
        result = await ask(HttpProbe(5, f"https://127.0.0.1:{port}/"))
    assert not result.ok
    assert result.detail.startswith(f"no TLS connection to 127.0.0.1:{port}: ")


async def test_a_server_as_python_has_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The probe does not hang up in mid-sentence: the server has no reason to complain."""
    (tmp_path / "index.html").write_text("x" * 200_000)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            results = [await ask(HttpProbe(5, f"http://127.0.0.1:{server.server_port}/")) for _ in range(5)]
        finally:
            server.shutdown()
            thread.join()
    assert all(result.ok for result in results)
    assert "Traceback" not in capfd.readouterr().err
