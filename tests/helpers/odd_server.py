"""An OpenAI-compatible server with many faces: ``python odd_server.py``, and the address ``http://127.0.0.1:PORT/FACE/v1``.

Each face replies, or refuses, as one kind of real server does. ``GET /FACE/bodies`` returns what it was sent, and
``GET /FACE/v1/models`` what it lists, where it lists models. The first line on stdout names the port.
"""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

QUESTION = "What is the limit for gifts in euros?"
THOUGHT = "The user wants one question about the passage, so I look for a number."
BODIES: dict[str, list[dict[str, Any]]] = {}
Answer = tuple[int, Any]


def said(content: Any, finish: Any = "stop", tokens: int = 9, **message: Any) -> Callable[[dict[str, Any]], Answer]:
    """Return a face that always says the same."""

    def reply(body: dict[str, Any]) -> Answer:
        choices = [
            {"index": k, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
            for k in range(body.get("n", 1))
        ]
        usage = {"prompt_tokens": 50, "completion_tokens": tokens * len(choices)}
        return 200, {"object": "chat.completion", "choices": choices, "usage": usage}

    return reply


GOOD = said(QUESTION)


def thinks(needed: int) -> Callable[[dict[str, Any]], Answer]:
    """Return a face whose model thinks for so many tokens before it answers with nine."""

    def reply(body: dict[str, Any]) -> Answer:
        most = body.get("max_tokens", 0)
        if most < needed:
            return said(None, "length", most, reasoning_content=THOUGHT)(body)
        return said(QUESTION, "stop", needed + 9, reasoning_content=THOUGHT)(body)

    return reply


def refuses(name: str, status: int, words: Any, holds: Callable[[Any], bool] = lambda value: True) -> Any:
    """Return a face that takes no call with a parameter, or with some values of it."""

    def reply(body: dict[str, Any]) -> Answer:
        return (status, words) if name in body and holds(body[name]) else GOOD(body)

    return reply


def both_samplers(body: dict[str, Any]) -> Answer:
    """Refuse temperature and top_p together, as one hosted endpoint does."""
    if "temperature" in body and "top_p" in body:
        words = "temperature and top_p cannot both be specified for this model. Please use only one."
        return 400, {"type": "error", "error": {"type": "invalid_request_error", "message": words}}
    return GOOD(body)


def several(body: dict[str, Any]) -> Answer:
    """Refuse three parameters, one after the other."""
    for name in ("seed", "top_p", "temperature"):
        if name in body:
            return 400, {"error": {"message": f"Unsupported parameter: '{name}'.", "param": name}}
    return GOOD(body)


def every_other(body: dict[str, Any]) -> Answer:
    """Say nothing to every other prompt."""
    return said("")(body) if int(body["messages"][-1]["content"].rpartition("p")[2] or 0) % 2 else GOOD(body)


def error(message: str, **more: Any) -> dict[str, Any]:
    """Return an error's body in OpenAI's dialect."""
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


def stream(text: str, end: str) -> str:
    """Return a stream of chunks, as a proxy sends it that was asked for none, with a thought and a comment first."""
    deltas = [{"role": "assistant", "content": ""}, {"reasoning_content": THOUGHT}, *({"content": w} for w in text)]
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return ": PROCESSING\n\n" + "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + end


def fails_first(error: Any) -> Callable[[dict[str, Any]], Answer]:
    """Return a face whose first reply is an error with the status of success."""
    replies = iter([(200, {"error": error})])
    return lambda body: next(replies, None) or GOOD(body)


END_OF_STREAM = json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
PAGE = "<html><head><title>502</title><style>h1 {n: 1}</style></head><body><h1>502 Bad&nbsp;Gateway</h1></body></html>"
EXTRA = {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}
TOO_LONG = (
    "'max_tokens' or 'max_completion_tokens' is too large: 64. This model's maximum context length is 32 tokens and "
    "your request has 40 input tokens, temperature 0.6."
)
FACES: dict[str, Callable[[dict[str, Any]], Answer]] = {
    "good": GOOD,
    "think": said(f"<think>\n{THOUGHT}\n</think>\n\n{QUESTION}"),
    "half": said(f"{THOUGHT}\n</think>\n\n{QUESTION}"),
    "mistral": said(f"[THINK]{THOUGHT}[/THINK]{QUESTION}"),
    "harmony": said(
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{QUESTION}"
    ),
    "bare": said(f"analysis{THOUGHT}assistantfinal{QUESTION}"),
    "beside": said(QUESTION, reasoning_content=THOUGHT),
    "list": said(
        [{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}, {"type": "text", "text": QUESTION}]
    ),
    "gemini": said([{"text": THOUGHT, "thought": True}, {"text": QUESTION}]),
    "null": said(None, "length", reasoning_content=THOUGHT),
    "empty": said(""),
    "filtered": said(None, "content_filter"),
    "open": said(f"<think>\n{THOUGHT}", "length"),
    "silent": said(None),
    "thinks": thinks(500),
    "thinks-long": thinks(3000),
    "every-other": every_other,
    "cut": said("Staff refuse gifts that are worth more than 50 euros, and a gift above", "length"),
    "several": several,
    "samplers": both_samplers,
    "no-temperature": refuses(
        "temperature",
        400,
        error("Unsupported value: 'temperature' does not support 0.6 with this model.", param="temperature"),
        lambda value: value != 1,
    ),
    "positive": refuses(
        "temperature",
        422,
        {"error": "Input validation error: `temperature` must be strictly positive", "error_type": "validation"},
        lambda value: value <= 0,
    ),
    "no-top-p": refuses("top_p", 400, {"message": "property 'top_p' is unsupported"}),
    "no-seed": refuses("seed", 422, {"detail": [EXTRA]}),
    "no-seed-nested": refuses("seed", 422, {"object": "error", "message": {"detail": [EXTRA]}}),
    "no-seed-list": refuses(
        "seed", 400, [error('Invalid JSON payload received. Unknown name "seed": Cannot find field.')]
    ),
    "no-seed-plain": refuses("seed", 400, "Unrecognized request argument supplied: seed"),
    "completion-tokens": refuses(
        "max_tokens",
        400,
        error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", param="max_tokens"),
    ),
    "tokens-forbidden": refuses("max_tokens", 422, {"detail": [{**EXTRA, "loc": ["body", "max_tokens"]}]}),
    "no-n": refuses("n", 400, error("Only n = 1 is supported.")),
    "no-schema": refuses("response_format", 400, error("This response_format type is unavailable now")),
    "param-500": refuses("n", 500, error("Unsupported param: n", code=500)),
    "param-404": refuses("seed", 404, error("No endpoints found that support the requested parameters: seed")),
    "seed-500": lambda body: (500, error("Internal error in the seed store")),
    "no-system": lambda body: (
        (400, error("System role not supported")) if body["messages"][0]["role"] == "system" else GOOD(body)
    ),
    "mute": refuses("response_format", 400, ""),
    "too-long": lambda body: (400, error(TOO_LONG, param=None)),
    "small": lambda body: (
        (400, error("This model's maximum context length is 600 tokens."))
        if body["max_tokens"] > 600
        else said(None, "length", 9, reasoning_content=THOUGHT)(body)
    ),
    "mood": lambda body: (400, error("The model is in a bad mood.")),
    "stream": lambda body: (200, stream(QUESTION, f"data: {END_OF_STREAM}\n\ndata: [DONE]\n\n")),
    "stream-cut": lambda body: (200, stream(QUESTION[:9], "")),
    "error-busy": fails_first({"code": 429, "message": "slow down"}),
    "error-plain": fails_first("upstream went away"),
    "error-credit": lambda body: (200, {"error": {"code": 402, "message": "Insufficient credits"}}),
    "error-seed": lambda body: (
        (200, {"error": {"code": 400, "message": "Unrecognized request argument supplied: seed"}})
        if "seed" in body
        else GOOD(body)
    ),
    "page": lambda body: (404, PAGE),
    "overloaded": lambda body: (529, error("Overloaded")),
    "quota": lambda body: (429, error("This account has insufficient quota.")),
    "no-usage": lambda body: (200, {"choices": GOOD(body)[1]["choices"], "usage": None}),
    "deep": lambda body: (200, "[" * 100_000),
    "deep-error": lambda body: (400, '{"error":' * 900 + "1" + "}" * 900),
    "huge": said(QUESTION, tokens=10**23),
    "negative": said(QUESTION, tokens=-500),
    "surrogate": said("What is the limit \ud83d for gifts?"),
    "moved": lambda body: (307, ""),
    "other-name": GOOD,
    "lists-nothing": GOOD,
    "unknown": lambda body: (404, error("The model `m` does not exist")),
    **dict.fromkeys(("gzip", "deflate", "gzip-unsaid", "gzip-false", "gzip-cut"), GOOD),
    "gzip-refuses": refuses("seed", 400, error("Unrecognized request argument supplied: seed")),
    "gzip-wrong": lambda body: (400, error("The model is in a bad mood.")),
}
ENCODED: dict[str, Callable[[bytes], bytes]] = {
    **dict.fromkeys(("gzip", "gzip-unsaid", "gzip-refuses", "gzip-wrong"), gzip.compress),
    "deflate": zlib.compress,
    "gzip-cut": lambda data: gzip.compress(data)[:-40],
}
"""How faces encode what they send; ``gzip-false`` only says so, and ``gzip-unsaid`` does not."""
LISTS: dict[str, Any] = {
    "good": {"data": [{"id": "m", "max_model_len": 64}, {"id": "n"}]},
    "other-name": {"object": "list", "data": [{"id": "mistral-small"}, {"id": "qwen"}]},
    "unknown": {"data": []},
    "moved": "[" * 100_000,
}


class Handler(BaseHTTPRequestHandler):
    """One call."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()

    def do_GET(self) -> None:
        """Show what a face was sent, or what it lists."""
        face = self.path.split("/")[1]
        if self.path.endswith("/bodies"):
            self.answer(200, BODIES.get(face, []))
        elif self.path.endswith("/models") and face in LISTS:
            self.answer(200, LISTS[face])
        else:
            self.answer(404, {"error": "not found"})

    def do_POST(self) -> None:
        """Reply as the face does; ``echo`` repeats the headers."""
        face = self.path.split("/")[1]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            BODIES.setdefault(face, []).append(body)
        if face == "echo":
            given = self.headers["Authorization"]
            self.answer(401, error(f"unauthorised: {given}", headers=[given]))
        elif face == "echo-good":
            self.answer(200, f"unauthorised, and here is what you sent: {self.headers['Authorization']}")
        elif face == "place":
            place = f"{self.path.removeprefix('/place')} {self.headers['api-key']}"
            self.answer(*said(place)(body))
        else:
            self.answer(*FACES[face](body))

    def answer(self, status: int, content: Any) -> None:
        """Send a text as it is, and another value as JSON."""
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        face = self.path.split("/")[1]
        if self.command == "POST":
            data = ENCODED.get(face, bytes)(data)
        self.send_response(status)
        if self.command == "POST" and face.startswith(("gzip", "deflate")) and face != "gzip-unsaid":
            self.send_header("Content-Encoding", face.partition("-")[0])
        if status == 307:
            self.send_header("Location", "http://me:pw@127.0.0.1:9/v1/chat/completions")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
