"""A server whose replies are too large or never end: ``python endless_server.py``, and the address ``http://127.0.0.1:PORT/FACE/v1``.

The first line on stdout names the port. ``GET`` gets the same as ``POST``, so that lists of models are endless, too.
"""

from __future__ import annotations

import itertools
import socketserver
import time
import zlib
from collections.abc import Callable, Iterator

MEGABYTE = 1 << 20
OPENING = b'{"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": "'


def packed(window: int) -> Iterator[bytes]:
    """Yield what unpacks to a text that is opened and one letter of it for ever, a thousandth of its size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    yield packer.compress(OPENING) + packer.flush(zlib.Z_FULL_FLUSH)
    yield from itertools.repeat(packer.compress(b"a" * MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH))


def slowly(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield parts with a pause between them."""
    for part in parts:
        time.sleep(0.02)
        yield part


def twice() -> Iterator[bytes]:
    """Yield a gzip file that never ends within another one."""
    inner = b"".join(itertools.islice(packed(31), 1000))
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield packer.compress(inner) + packer.flush(zlib.Z_FULL_FLUSH)


FACES: dict[str, tuple[str, bytes, Callable[[], Iterator[bytes]]]] = {
    "gzip": ("200 OK", b"Content-Encoding: gzip\r\n", lambda: packed(31)),
    "deflate": ("200 OK", b"Content-Encoding: deflate\r\n", lambda: packed(15)),
    "refusal": ("400 Bad Request", b"Content-Encoding: gzip\r\n", lambda: packed(31)),
    "twice": ("200 OK", b"Content-Encoding: gzip, gzip\r\n", twice),
    "endless": ("200 OK", b"", lambda: itertools.chain([OPENING], itertools.repeat(b"a" * MEGABYTE))),
    "stream": ("200 OK", b"", lambda: itertools.repeat(b'data: {"choices": []}\n\n' * 50_000)),
    "headers": ("", b"", lambda: itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"X-A: b\r\n" * 100_000))),
    "trickle": ("200 OK", b"", lambda: slowly(itertools.chain([OPENING], itertools.repeat(b"a")))),
    "silent": ("", b"", lambda: slowly(itertools.repeat(b""))),
}


class Handler(socketserver.StreamRequestHandler):
    """One connection, and one call."""

    def handle(self) -> None:
        """Reply as the face in the call's path does."""
        try:
            self._reply()
        except OSError:
            return  # the client has had enough

    def _reply(self) -> None:
        path = self.rfile.readline().split()[1].decode()
        status, headers, parts = FACES[path.split("/")[1]]
        while self.rfile.readline().strip():
            pass
        if status:
            self.wfile.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n".encode())
            self.wfile.write(headers + b"Connection: close\r\n\r\n")
        for part in parts():
            self.wfile.write(part)
            self.wfile.flush()


class Server(socketserver.ThreadingTCPServer):
    """Takes several calls at once."""

    daemon_threads = True
    allow_reuse_address = True


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
