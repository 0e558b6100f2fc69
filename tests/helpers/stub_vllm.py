#!/usr/bin/env python3
"""A stand-in for the program ``vllm``: it takes the arguments of ``vllm serve`` and behaves as ``STUB_VLLM`` says.

Tokens are numbers; a model completes a prompt with the ids that follow its last one, up to ``STUB_END``. The
log-probability of a token is minus its id over 10, for a LoRA module over 20.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DYING = threading.Lock()  # calls come at once, and one of them has the last words


class Handler(BaseHTTPRequestHandler):
    """Answers as vLLM does, for those who show the key."""

    models: tuple[str, ...] = ()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """List the models."""
        self._reply({"data": [{"id": name, "max_model_len": 512} for name in self.models]})

    def do_POST(self) -> None:
        """Complete a prompt, of tokens or of turns."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(os.environ["STUB_CALLS"], "a", encoding="utf-8") as calls:
            calls.write(json.dumps(body) + "\n")
        if os.environ.get("STUB_VLLM") == "dies on a call":
            with DYING:
                print(
                    "(EngineCore pid=1) ERROR 11-29 08:26:48 [core.py:1] RuntimeError: the device is lost", flush=True
                )
                os._exit(9)
        if "messages" in body:
            message = {"role": "assistant", "content": f"re: {body['messages'][-1]['content']}"}
            return self._reply({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
        prompt, end = body["prompt"], int(os.environ.get("STUB_END", "0"))
        scale = 10 if body["model"] == "base" else 20
        written = [*range(prompt[-1] + 1, prompt[-1] + body["max_tokens"]), end][: body["max_tokens"]]
        logps = [None, *({str(token): {"logprob": -token / scale}} for token in prompt[1:])]
        choice = {"token_ids": written, "finish_reason": "stop", "prompt_logprobs": logps}
        return self._reply({"choices": [choice]})

    def _reply(self, value: object) -> None:
        right = self.headers.get("Authorization") == f"Bearer {os.environ['VLLM_API_KEY']}"
        content = json.dumps(value if right else {"error": {"message": "no key"}}).encode()
        self.send_response(200 if right else 401)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main(words: list[str]) -> None:
    """Serve, or fail to."""
    does = os.environ.get("STUB_VLLM", "")
    if folder := os.environ.get("STUB_NOTES"):
        child = subprocess.Popen(["sleep", "600"])
        noted = {"argv": words, "pids": [os.getpid(), child.pid], "environment": dict(os.environ)}
        with open(folder, "a", encoding="utf-8") as notes:
            notes.write(json.dumps(noted) + "\n")
    if does == "dies":
        print("INFO 11-29 08:26:48 [core.py:1] loading\nValueError: no room for the cache")
        print("RuntimeError: Engine core initialization failed. See root cause above.")
        sys.exit(3)
    if does == "ignores SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if does == "hangs":
        print("loading weights", flush=True)
        time.sleep(600)
    if does == "port taken" and not os.path.exists(os.environ["STUB_CALLS"]):
        open(os.environ["STUB_CALLS"], "w").close()
        print("OSError: [Errno 98] Address already in use")
        sys.exit(1)
    modules = words[words.index("--lora-modules") + 1 :] if "--lora-modules" in words else []
    Handler.models = ("base", *(json.loads(word)["name"] for word in modules if word.startswith("{")))
    ThreadingHTTPServer(("127.0.0.1", int(words[words.index("--port") + 1])), Handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
