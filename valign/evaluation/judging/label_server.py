"""The server of the page on which a person labels answers, one by one or in pairs."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from statistics import median
from typing import Any

from valign.core.errors import ValignError
from valign.evaluation.judging.labels import LabelFile, ShownTask

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_LARGEST_BODY = 10_000


class LabelServer:
    """Serves the page on which a person labels answers, one by one or in pairs, on this machine alone.

    The address has a random part, requests have to name this machine as their host, and the page may load nothing from
    elsewhere, so that no other page in the browser can read or write here.
    """

    def __init__(self, tasks: Sequence[ShownTask], labels: LabelFile, port: int) -> None:
        """Open the port.

        Args:
            tasks: What is to be labelled.
            labels: Where labels are kept.
            port: The port; 0 for any that is free.

        Raises:
            ValignError: The port is taken.
        """
        self.tasks = tasks
        self.labels = labels
        self.finished = threading.Event()
        self._lock = threading.Lock()
        self._secret = secrets.token_urlsafe(12)
        self._page = resources.files("valign.evaluation.judging").joinpath("label.html").read_bytes()
        try:
            self.server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        except OSError as error:
            raise ValignError(
                f"port={port} cannot be opened ({error.strerror}); choose another, or 0 for any."
            ) from None
        self.server.daemon_threads = True

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server.server_port}/{self._secret}/"

    def serve(self) -> None:
        """Answer until every pair is done, or the user interrupts."""
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        if not self.state()["task"]:
            self.finished.set()
        try:
            while not self.finished.wait(0.2):
                pass
            self.finished.wait(1)
        finally:
            self.server.shutdown()
            self.server.server_close()

    def state(self) -> dict[str, Any]:
        """Return the next pair that is not labelled, and how far the rater is."""
        done = self.labels.done(self.tasks)
        open_ = [i for i, task in enumerate(self.tasks) if task.key not in done]
        times = [label.seconds for label in self.labels.labels if label.rater == self.labels.rater and label.seconds]
        minutes = None if len(times) < 3 else max(1, round(median(times) * len(open_) / 60))
        task = {"number": open_[0], **self.tasks[open_[0]].shown()} if open_ else None
        return {"task": task, "done": len(done), "total": len(self.tasks), "minutes": minutes}

    def get(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Answer a request for the page or the state."""
        if path == f"/{self._secret}/":
            return HTTPStatus.OK, "text/html; charset=utf-8", self._page
        if path == f"/{self._secret}/state":
            return self._json(self.state())
        return HTTPStatus.NOT_FOUND, "text/plain", b"not here"

    def post(self, path: str, body: bytes) -> tuple[HTTPStatus, str, bytes]:
        """Take a choice, or take the last one back."""
        with self._lock:
            if path == f"/{self._secret}/undo":
                self.labels.undo()
                return self._json(self.state())
            if path != f"/{self._secret}/choose":
                return HTTPStatus.NOT_FOUND, "text/plain", b"not here"
            try:
                given = json.loads(body)
                task = self.tasks[int(given["number"])]
                if task.key not in self.labels.done(self.tasks):
                    self.labels.add(task, str(given["choice"]), float(given.get("seconds") or 0))
            except (ValueError, KeyError, IndexError, TypeError, ValignError) as error:
                return HTTPStatus.BAD_REQUEST, "text/plain", str(error).encode()
            state = self.state()
            if state["task"] is None:
                self.finished.set()
            return self._json(state)

    def _json(self, value: dict[str, Any]) -> tuple[HTTPStatus, str, bytes]:
        return HTTPStatus.OK, "application/json", json.dumps(value).encode()


def _handler(server: LabelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(*server.get(self.path) if self._own() else (HTTPStatus.FORBIDDEN, "text/plain", b"other host"))

        def do_POST(self) -> None:
            given = self.headers.get("Content-Length") or "0"
            length = int(given) if given.isascii() and given.isdigit() and len(given) < 10 else _LARGEST_BODY + 1
            if not self._own() or length > _LARGEST_BODY or self.headers.get_content_type() != "application/json":
                self._reply(HTTPStatus.FORBIDDEN, "text/plain", b"other host, too long, or no JSON")
                return
            self._reply(*server.post(self.path, self.rfile.read(length)))

        def _own(self) -> bool:
            return self.headers.get("Host", "") in (
                f"{h}:{server.server.server_port}" for h in ("127.0.0.1", "localhost")
            )

        def _reply(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
