"""Plays ``vllm run-batch`` before a server: ``python run_batch.py -i FILE -o RESULTS --model MODEL --url URL``.

Each line of FILE is posted to the server and its reply written to RESULTS in the OpenAI Batch format, at once and in no
order. ``--only N`` ends after N lines, in the middle of the next one, as a job that is killed does; ``--broken SHARE``
leaves some requests unsent and writes an HTTP error, an error object, a line cut short or nothing in their place.
"""

from __future__ import annotations

import argparse
import json
import random
import urllib.request
from pathlib import Path
from typing import Any


def post(url: str, request: dict[str, Any]) -> dict[str, Any]:
    """Send a request's body and return the result as a line of the output."""
    assert request["method"] == "POST" and request["url"] == "/v1/chat/completions"
    call = urllib.request.Request(url + request["url"].removeprefix("/v1"), json.dumps(request["body"]).encode())
    call.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(call, timeout=60) as reply:
        body = json.loads(reply.read())
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": "vllm-1", "custom_id": request["custom_id"], "response": response, "error": None}


def broken(request: dict[str, Any], kind: int) -> str:
    """Return what stands in place of a result."""
    name = request["custom_id"]
    error = {"error": {"message": "the engine is overloaded", "code": 503}}
    lines = [
        {"custom_id": name, "response": {"status_code": 503, "body": error}, "error": None},
        {"custom_id": name, "response": None, "error": {"code": "batch_expired", "message": "not run in time"}},
    ]
    return json.dumps(lines[kind]) + "\n" if kind < 2 else '{"custom_id": "' + name[:9] + "\n" if kind == 2 else ""


def main(arguments: list[str] | None = None) -> None:
    """Run the batch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", required=True)
    parser.add_argument("-o", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--only", type=int)
    parser.add_argument("--broken", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    requests = [json.loads(line) for line in Path(given.i).read_text(encoding="utf-8").splitlines()]
    assert {request["body"]["model"] for request in requests} == {given.model}
    rng = random.Random(given.seed)
    rng.shuffle(requests)
    with Path(given.o).open("w", encoding="utf-8") as file:
        for number, request in enumerate(requests):
            if number == given.only:
                file.write('{"id": "vllm-1", "custom_id": "')
                return
            if rng.random() < given.broken:
                file.write(broken(request, rng.randrange(4)))
                continue
            line = json.dumps(post(given.url, request)) + "\n"
            file.write(line * 2 if rng.random() < 0.1 else line)
        file.write(json.dumps({"custom_id": "of-another-run", "response": {"status_code": 200, "body": {}}}) + "\n")


if __name__ == "__main__":
    main()
