"""An OpenAI-compatible server that misbehaves as told: ``python fault_server.py PORT LOG LATENCY FAULT...``.

It answers with the prompt turned round and writes one line to LOG for each call that it answered well, so that a test
can count what was paid. Faults are given as ``kind:first:last`` (calls of that number, from 0, in the order in which
they come): ``429``, ``429s`` (asks for 0.2 s), ``500``, ``503``, ``401``, ``cut`` (half of the JSON), ``empty``,
``html``, ``hang`` (never answers), ``drop`` (closes the connection), ``none`` (no choices). LATENCY is in seconds. Port
0 takes a free one; the first line on stdout names it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

PAGE = b"<html>hello</html>"


def answer(body: dict[str, Any]) -> bytes:
    """Return a chat completion that has the prompt's last turn backwards, as often as asked."""
    text = body["messages"][-1]["content"][::-1]
    count = body.get("n", 1)
    choices = [
        {"index": k, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"} for k in range(count)
    ]
    usage = {"prompt_tokens": 10, "completion_tokens": 5 * count, "total_tokens": 10 + 5 * count}
    return json.dumps({"object": "chat.completion", "choices": choices, "usage": usage}).encode()


def response(status: int, content: bytes, headers: str = "", kind: str = "application/json") -> bytes:
    """Return the bytes of an HTTP response."""
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
    return head.encode() + content


class Faulty:
    """The server's state: how many calls came, and what is to go wrong with which."""

    def __init__(self, log: Path, latency: float, faults: list[str]) -> None:
        """Read the faults."""
        self.log = log.open("a", buffering=1)
        self.latency = latency
        self.faults = [(kind, int(first), int(last)) for kind, first, last in (fault.split(":") for fault in faults)]
        self.calls = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the calls of one connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                number, self.calls = self.calls, self.calls + 1
                kind = next((k for k, first, last in self.faults if first <= number <= last), "")
                await asyncio.sleep(self.latency)
                if kind == "hang":
                    await asyncio.sleep(3600)
                if kind == "drop":
                    break
                writer.write(self.reply(kind, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def reply(self, kind: str, body: dict[str, Any]) -> bytes:
        """Return what goes out for a call, and note it where it is good."""
        good = answer(body)
        broken = {"cut": good[: len(good) // 2], "empty": b"", "none": b'{"choices": []}'}
        if kind in broken:
            return response(200, broken[kind])
        if kind == "html":
            return response(200, PAGE, kind="text/html")
        if kind.rstrip("s").isdigit():
            wait = "Retry-After: 0.2\r\n" if kind.endswith("s") else ""
            return response(int(kind.rstrip("s")), b'{"error": {"message": "as told"}}', wait)
        self.log.write(json.dumps([body["messages"][-1]["content"], body.get("n", 1)]) + "\n")
        return response(200, good)


async def main(port: int, log: str, latency: float, faults: list[str]) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(Faulty(Path(log), latency, faults).serve, "127.0.0.1", port, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4:]))
