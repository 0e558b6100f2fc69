"""An OpenAI-compatible server that writes what a synthesis asks for: ``python writing_server.py LOG``.

Questions are drawn from the words of the prompt by its seed, so that they differ; an answer is a sentence of the
passage; a request for facts is answered in JSON, one in five with words that are none; a judge finds most answers to
be entailed, and names two clauses in no order; a yes/no question has one or the other. LOG gets a line for each
completion. The first line on stdout names the port.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def write(body: dict[str, Any], number: int) -> str:
    """Return a completion, by the request and its number alone."""
    prompt = json.dumps(body["messages"])
    rng = random.Random(f"{prompt}/{body.get('seed')}/{number}")
    last = body["messages"][-1]["content"]
    if "response_format" in body:
        asked = body["response_format"]["json_schema"]["schema"]["properties"]
        if set(asked) == {"decides"}:
            return json.dumps({"decides": rng.sample("ABC", 2)})
        if set(asked) == {"verdict", "answer"}:
            return json.dumps({"verdict": "none", "answer": rng.choice(asked["answer"]["enum"][:1] * 4 + ["absent"])})
        words = re.findall(r"[a-z]{4,}", last)
        facts = {"values": [], "numbers": [], "names": rng.sample(words, 2)}
        return "There are none" if rng.random() < 0.2 else json.dumps(facts)
    if body["max_tokens"] <= 8:
        return "No" if rng.random() < 0.5 else "Yes"
    if body["max_tokens"] >= 90:
        sentences = re.findall(r"[A-Z][^.?!\n]{20,}\.", last)
        return f"{rng.choice(sentences or ['Nobody knows.'])} Certainly so."
    words = list(dict.fromkeys(re.findall(r"[a-z]{3,}", last.lower())))
    return f"{rng.choice(['What about', 'How is it with', 'Why'])} {' '.join(rng.sample(words, min(6, len(words))))}?"


class Handler(BaseHTTPRequestHandler):
    """One call."""

    protocol_version = "HTTP/1.1"
    log: Path
    lock = threading.Lock()

    def do_POST(self) -> None:
        """Write what is asked for, and note it."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts = [write(body, number) for number in range(body.get("n", 1))]
        choices = [
            {"index": k, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for k, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": 50, "completion_tokens": 10 * len(texts)}
        reply = {"object": "chat.completion", "model": body["model"], "choices": choices, "usage": usage}
        asked = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        with self.lock, self.log.open("a", encoding="utf-8") as file:
            file.write(f"{asked}\n")
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    Handler.log = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
