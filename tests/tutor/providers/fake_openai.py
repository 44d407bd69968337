"""A Chat Completions server on loopback whose every answer a test writes down, or that lacks what it names."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def completion(
    *texts: str, finish: str = "stop", model: str = "fake-1", logprobs: Any = None
) -> dict[str, Any]:
    """The body of a chat completion with one choice a text."""
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {
                "index": i,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish,
                "logprobs": logprobs,
            }
            for i, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


@dataclass
class Answer:
    """One scripted HTTP answer."""

    body: Any = None
    status: int = 200
    raw: bytes | None = None
    delay: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    promised_length: int | None = None


def refusal(status: int, message: str, **headers: str) -> Answer:
    return Answer({"error": {"message": message, "type": "x"}}, status, headers=headers)


@dataclass
class FakeServer:
    url: str
    answers: list[Answer]
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


def streamed(text: str, *, pieces: int = 10, finish: bool = True, broken: bool = False) -> Answer:
    """A stream of server-sent events with `text` in pieces of so many characters."""
    chunks: list[dict[str, Any]] = [
        {"delta": {"content": text[i : i + pieces]}, "finish_reason": None}
        for i in range(0, len(text), pieces)
    ]
    if finish:
        chunks.append({"delta": {}, "finish_reason": "stop"})
    head = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "fake-1"}
    lines = [{**head, "choices": [{"index": 0, **chunk}]} for chunk in chunks]
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    lines.append({**head, "choices": [], "usage": usage})
    body = "".join(f"data: {json.dumps(line)}\n\n" for line in lines).encode()
    return Answer(raw=body, promised_length=len(body) + 500 if broken else None)


Rule = Callable[[str, dict[str, Any]], Answer]


@contextmanager
def serve(*answers: Answer | dict[str, Any], rule: Rule | None = None) -> Iterator[FakeServer]:
    """Serve the answers in turn, the last one again and again; or what a rule says of path and body."""
    listed = [a if isinstance(a, Answer) else Answer(a) for a in answers]
    state = FakeServer("", listed)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({})

        def do_POST(self) -> None:
            self.answer(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0)))))

        def answer(self, body: dict[str, Any]) -> None:
            state.requests.append(body)
            state.headers.append({k.lower(): v for k, v in self.headers.items()})
            if rule is not None:
                answer = rule(self.path, body)
            else:
                answer = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            time.sleep(answer.delay)
            data = answer.raw if answer.raw is not None else json.dumps(answer.body).encode()
            try:
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(answer.promised_length or len(data)))
                for name, value in answer.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client gave up waiting, as some tests mean it to

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
