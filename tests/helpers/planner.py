"""A capable teacher as a script: it reads the plan of a structured call and writes what is asked for.

As a process (``python planner.py PORT LOG MODE``) it is an OpenAI-compatible server, which writes one line to LOG for
each call that it answers. MODE is ``schema`` (it takes ``response_format``), ``plain`` (it refuses that, and replies
with prose and a fence) or ``broken`` (as ``plain``, and each first reply breaks off inside its last item).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LINE = re.compile(r"^(\d+)\. kind: (\w+);.* verdict: (yes|no|none)\b", re.M)
PASSAGE = re.compile(r"^(?:Rule|Passage): (.*)$", re.M)
WORDS = {"yes": "Yes. ", "no": "No. ", "none": ""}
OTHER = {"yes": "no", "no": "yes", "none": "none"}
NAMES = ("Amina", "Bo", "Chidi", "Dana", "Elif", "Farid", "Gita", "Hana", "Ivo", "Jun", "Kofi", "Lena")


def plan_of(messages: Sequence[Any]) -> list[tuple[int, str, str]]:
    """Return number, kind and verdict of every line of the plan in the last turn."""
    return [(int(number), kind, verdict) for number, kind, verdict in LINE.findall(messages[-1]["content"])]


def passage_of(messages: Sequence[Any]) -> str:
    """Return the passage that a conversation shows."""
    found = PASSAGE.search(messages[0]["content"])
    assert found is not None
    return found.group(1)


def item(messages: Sequence[Any], number: int, verdict: str) -> dict[str, Any]:
    """Return the item that a line of the plan asks for, in the passage's own words."""
    words = re.findall(r"[a-z]+", passage_of(messages).split(".", 1)[-1].lower())
    said = " ".join(words[:9])
    subject = " ".join(dict.fromkeys(words[(number + len(messages)) % 5 :][:6]))
    form = messages[-1]["content"]
    asks = "wonders aloud on holiday, in letter" if '"unfaithful"' in form else "asks, as number"
    question = f"{NAMES[number % len(NAMES)]} {asks} {chr(96 + number % 26)}, about {subject}, is that so?"
    if '"unfaithful"' in form:
        answers = {"faithful": WORDS[verdict] + said, "unfaithful": f"{WORDS[OTHER[verdict]]}never {said}"}
        return {"number": number, "question": question, "verdict": verdict, "kind": "", **answers}
    return {"number": number, "question": question, "verdict": verdict, "answer": WORDS[verdict] + said}


def items(messages: Sequence[Any]) -> list[dict[str, Any]]:
    """Return every item that is planned."""
    return [item(messages, number, verdict) for number, _, verdict in plan_of(messages)]


def reply(messages: Sequence[Any]) -> str:
    """Return a whole reply: the items, or that the passage carries a value, unless it is a definition."""
    if "carries_value" in messages[-1]["content"]:
        return json.dumps({"carries_value": "no" if " means " in passage_of(messages) else "yes"})
    return json.dumps({"items": items(messages)})


class Planner:
    """A teacher that replies as told to every request and keeps what it was asked."""

    id = "planner@1"

    def __init__(self, write: Callable[[Sequence[Any]], str] = reply) -> None:
        """Choose how it replies to a conversation."""
        self.write = write
        self.asked: list[Any] = []

    def batches(self, requests: Sequence[Any]) -> list[list[int]]:
        """Group all requests."""
        return [list(range(len(requests)))]

    def complete(self, requests: Sequence[Any]) -> list[list[Any]]:
        """Reply to each conversation."""
        from valign.generation.requests import Completion

        self.asked += requests
        return [[Completion(self.write(request.messages), 50, True)] * request.sampling.n for request in requests]


class _Handler(BaseHTTPRequestHandler):
    mode, log = "schema", Path()

    def do_POST(self) -> None:
        """Answer one call."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        messages, has_schema = body["messages"], "response_format" in body
        if has_schema and self.mode != "schema":
            self._send(400, {"error": {"message": "Unsupported parameter: response_format"}})
            return
        text = reply(messages)
        if self.mode != "schema":
            text = f"Here it is:\n```json\n{text}\n```\nI hope that this helps."
        if self.mode == "broken" and len(messages) == 1 and "items" in text:
            text = text[: text.rindex('"verdict"')]
        with self.log.open("a") as file:
            file.write(json.dumps([has_schema, len(messages), messages[-1]["content"]]) + "\n")
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
        self._send(200, {"object": "chat.completion", "choices": [choice] * body.get("n", 1), "usage": usage})

    def _send(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    _Handler.log, _Handler.mode = Path(sys.argv[2]), sys.argv[3]
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
