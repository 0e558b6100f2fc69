"""An OpenAI-compatible server in this process that replies as told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """An OpenAI-compatible server that repeats the prompt and notes what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        """Take a free port."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.failures: list[tuple[int, str]] = []
        self.reply: Callable[[dict[str, Any]], Any] = reply
        self.seconds = 0.0
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that have gone."""

    @property
    def url(self) -> str:
        """The address for ``base_urls``."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    """One call."""

    server: Server

    def do_POST(self) -> None:
        """Note the call and answer it, or fail as asked."""
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
            server.bodies.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.paths.append(self.path)
            status, said = server.failures.pop(0) if server.failures else (200, "")
        time.sleep(server.seconds)
        with server.lock:
            server.under_way -= 1
        answer = {"error": {"message": said}} if status != 200 else server.reply(body)
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def reply(body: dict[str, Any]) -> dict[str, Any]:
    """Return a chat completion that repeats the last turn; ``long`` runs into the limit."""
    text = body["messages"][-1]["content"]
    finish = "length" if text == "long" else "stop"
    choices = [
        {"index": k, "message": {"role": "assistant", "content": f" re: {text}\n"}, "finish_reason": finish}
        for k in range(body.get("n", 1))
    ]
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": choices,
        "usage": {"prompt_tokens": 3, "completion_tokens": 7 * len(choices), "total_tokens": 10},
    }
