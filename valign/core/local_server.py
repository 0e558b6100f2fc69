"""A small server for a page on this machine alone: no other host, origin or page reads or writes through it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import sys
import threading
from collections.abc import Callable, Mapping
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from valign.core.errors import ValignError
from valign.core.text import one_line

LARGEST_BODY = 10_000
DRAINED = 1_000_000  # what is read of a body that is refused, so that its sender sees the reply
SECONDS_TO_ARRIVE = 30  # seconds for a request to arrive
JSON = "application/json"
PLAIN = "text/plain; charset=utf-8"

Reading = Callable[[Mapping[str, str]], Any]
"""Answers a GET request: gets the query, returns a JSON value."""
Writing = Callable[[dict[str, Any]], Any]
"""Answers a POST request: gets the body's JSON object, returns a JSON value; a ``ValignError`` is a reply of 400."""
Response = tuple[HTTPStatus, str, bytes]


class Conflict(ValignError):
    """Somebody else was faster: the request is fine, but about a state that is no more."""


class LocalServer:
    """Serves a page, and takes what a person does on it.

    It listens on the loopback address alone. The page's address has a random part; requests have to name this machine
    as their host and, if they name an origin, this server; the page may load nothing and runs no other script than its
    own. So no other page in the browser can read or write here.

    Attributes:
        finished: Set by whoever wants ``serve`` to return.
        server: The HTTP server.
    """

    def __init__(
        self,
        page: str,
        port: int,
        reading: Mapping[str, Reading],
        writing: Mapping[str, Writing],
        largest_body: int = LARGEST_BODY,
    ) -> None:
        """Open the port.

        Args:
            page: The HTML page, whose script and style stand in it.
            port: The port; 0 for any that is free.
            reading: What answers GET requests, by the last part of the path.
            writing: What answers POST requests, one at a time.
            largest_body: Bytes of the longest body.

        Raises:
            ValignError: The port is taken.
        """
        self.finished = threading.Event()
        self.largest_body = largest_body
        self.policy = page_policy(page)
        self._page, self._reading, self._writing = page.encode(), reading, writing
        self._lock = threading.Lock()
        self._secret = secrets.token_urlsafe(12)
        try:
            self.server = _QuietServer(("127.0.0.1", port), _handler(self))
        except OSError as error:
            raise ValignError(
                f"port={port} cannot be opened ({error.strerror}); choose another, or 0 for any."
            ) from None

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server.server_port}/{self._secret}/"

    def serve(self) -> None:
        """Answer until ``finished`` is set, or the user interrupts."""
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            while not self.finished.wait(0.2):
                pass
        finally:
            self.server.shutdown()
            self.server.server_close()

    def is_own(self, headers: Message) -> bool:
        """Tell whether a request names this server as its host and, where it names an origin, as that."""
        names = [f"{host}:{self.server.server_port}" for host in ("127.0.0.1", "localhost")]
        origin = headers.get("Origin")
        return headers.get("Host", "") in names and (origin is None or origin in [f"http://{name}" for name in names])

    def get(self, target: str) -> Response:
        """Answer a request for the page or for data."""
        try:
            parts = urlsplit(target)
        except ValueError:
            return HTTPStatus.NOT_FOUND, PLAIN, b"not here"
        name = self._name(parts.path)
        if name == "":
            return HTTPStatus.OK, "text/html; charset=utf-8", self._page
        if name is None or name not in self._reading:
            return HTTPStatus.NOT_FOUND, PLAIN, b"not here"
        return _answer(self._reading[name], dict(parse_qsl(parts.query)))

    def post(self, target: str, body: bytes) -> Response:
        """Take what a person did."""
        name = self._name(target)
        if name is None or name not in self._writing:
            return HTTPStatus.NOT_FOUND, PLAIN, b"not here"
        try:
            given = json.loads(body)
            json.dumps(given, ensure_ascii=False).encode()  # half a character cannot be kept
        except (ValueError, RecursionError):
            return HTTPStatus.BAD_REQUEST, PLAIN, b"the body is not whole JSON"
        if not isinstance(given, dict):
            return HTTPStatus.BAD_REQUEST, PLAIN, b"a JSON object is expected"
        with self._lock:
            return _answer(self._writing[name], given)

    def _name(self, path: str) -> str | None:
        """Return what a path asks for; None without the secret."""
        lead = f"/{self._secret}/"
        begins = secrets.compare_digest(path[: len(lead)].encode(errors="replace"), lead.encode())
        return path[len(lead) :] if begins else None


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # connections that wait to be taken; with five, some of a page's wait for seconds

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that did not wait for its reply, or never sent its request."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def page_policy(page: str) -> str:
    """Return the content security policy of a page: its own script and style, named by their hashes, and no other."""
    own = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        )
        or "'none'"
        for tag in ("script", "style")
    }
    return (
        f"default-src 'none'; style-src {own['style']}; script-src {own['script']}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _answer(function: Callable[[Any], Any], given: Any) -> Response:
    try:
        return HTTPStatus.OK, JSON, json.dumps(function(given)).encode()
    except Conflict as error:
        return HTTPStatus.CONFLICT, PLAIN, one_line(str(error)).encode(errors="replace")
    except (ValignError, OSError, ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        said = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) and error.args else str(error)
        return HTTPStatus.BAD_REQUEST, PLAIN, one_line(said).encode(errors="replace")


def _handler(local: LocalServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SECONDS_TO_ARRIVE

        def do_GET(self) -> None:
            if local.is_own(self.headers):
                self._reply(*local.get(self.path))
            else:
                self._reply(HTTPStatus.FORBIDDEN, PLAIN, b"other host or origin")

        def do_POST(self) -> None:
            given = self.headers.get("Content-Length") or ""
            length = int(given) if given.isascii() and given.isdigit() and len(given) < 16 else -1
            if not local.is_own(self.headers):
                self._refuse(HTTPStatus.FORBIDDEN, b"other host or origin", length)
            elif self.headers.get_content_type() != JSON:
                self._refuse(HTTPStatus.FORBIDDEN, b"no JSON", length)
            elif length < 0:
                self._refuse(HTTPStatus.BAD_REQUEST, b"Content-Length is missing or no number", 0)
            elif length > local.largest_body:
                said = f"{length} bytes are too many; {local.largest_body} at most"
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, said.encode(), length)
            else:
                self._reply(*local.post(self.path, self.rfile.read(length)))

        def _refuse(self, status: HTTPStatus, said: bytes, length: int) -> None:
            self.rfile.read(max(0, min(length, DRAINED)))
            self._reply(status, PLAIN, said)

        def _reply(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", local.policy)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
