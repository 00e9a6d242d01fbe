"""A stand-in for the providers' APIs on the loopback: one fixed answer, streamed as each of them does, or an error."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWER = "The stub has spoken."


class Stub(ThreadingHTTPServer):
    """Answers on a port of the loopback.

    ``status``: what it answers with instead, if it is no 200; ``open``: cleared, it lets them wait for an answer.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.open = threading.Event()
        self.open.set()
        self.prompts: list[str] = []

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Anthropic's messages, OpenAI's responses and chat, Google's generateContent."""

    server: Stub
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        """One connection; its other end may be killed at any time."""
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._reply(200, "application/json", b"")

    def do_GET(self) -> None:
        self._reply(200, "application/json", b'{"data": [], "models": []}')

    def do_POST(self) -> None:
        text = self._body()
        self.server.prompts.append(text)
        self.server.open.wait(60)
        if "count_tokens" in self.path.lower():
            self._reply(200, "application/json", b'{"input_tokens": 10, "totalTokens": 10}')
        elif self.server.status != 200:
            kind = {401: "authentication_error", 429: "rate_limit_error"}.get(self.server.status, "api_error")
            error = {"type": kind, "code": self.server.status, "message": f"stub says {kind}", "status": kind}
            self._reply(
                self.server.status, "application/json", json.dumps({"type": "error", "error": error}).encode()
            )
        else:
            self._reply(200, "text/event-stream", b"".join(self._events(text)))

    def _body(self) -> str:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data.decode("utf-8", "replace")
        return self.rfile.read(int(self.headers.get("Content-Length", 0))).decode("utf-8", "replace")

    def _reply(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _events(self, text: str) -> Iterator[bytes]:
        if "/messages" in self.path:
            yield from (event(one, named=True) for one in messages())
        elif "/responses" in self.path:
            yield from (event(one, named=True) for one in responses())
        elif "enerateContent" in self.path:
            yield event(gemini())
        else:
            yield from (event(one) for one in chat())
            yield b"data: [DONE]\n\n"


def event(data: dict[str, Any], *, named: bool = False) -> bytes:
    """A server-sent event."""
    name = f"event: {data['type']}\n" if named else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


def messages() -> list[dict[str, Any]]:
    """Anthropic's stream."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 1},
    }
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "usage": {"output_tokens": 7},
         "delta": {"stop_reason": "end_turn", "stop_sequence": None}},
        {"type": "message_stop"},
    ]  # fmt: skip


def responses() -> list[dict[str, Any]]:
    """OpenAI's stream of a response."""
    content = [{"type": "output_text", "text": ANSWER, "annotations": []}]
    item = {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": content}
    usage = {"input_tokens": 20, "input_tokens_details": {"cached_tokens": 5}, "output_tokens": 7,
             "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 27}  # fmt: skip
    base = {"id": "r1", "object": "response", "status": "in_progress", "output": []}
    done = {**base, "status": "completed", "output": [item], "usage": usage}
    return [
        {"type": "response.created", "response": base},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": done},
    ]


def gemini() -> dict[str, Any]:
    """Google's one chunk."""
    return {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": ANSWER}]}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 7, "totalTokenCount": 27},
        "modelVersion": "gemini-2.5-pro",
    }


def chat() -> list[dict[str, Any]]:
    """OpenAI's older stream."""
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    usage = {"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27}
    return [
        {
            **base,
            "choices": [
                {"index": 0, "delta": {"role": "assistant", "content": ANSWER}, "finish_reason": None}
            ],
        },
        {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage},
    ]


@contextmanager
def serving() -> Iterator[Stub]:
    """A stub that answers."""
    stub = Stub()
    thread = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield stub
    finally:
        stub.open.set()
        stub.shutdown()
        stub.server_close()
        thread.join()
