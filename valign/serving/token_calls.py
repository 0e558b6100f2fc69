"""Calls to a server of ours, many at once: an error ends the server, and its last words are the message."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

from valign.core.errors import ValignError
from valign.core.text import one_line
from valign.serving.child import DEATH_SECONDS, DIRECT
from valign.serving.vllm import VllmServer

_CALLS_AT_ONCE = 128
_CALL_SECONDS = 1800.0  # of a call that waits and is computed, without a word; a dead server is noticed at once
_ERROR_SHOWN = 300
Brought = TypeVar("Brought")


def call_each(
    server: VllmServer,
    call: Callable[..., Brought],
    arguments: Sequence[tuple[Any, ...]],
    report: Callable[[int], object],
) -> list[Brought]:
    """Make calls, many at once, and return what they bring in their order.

    Args:
        server: Started where it does not run.
        call: Makes one call.
        arguments: Of each call.
        report: Called with 1 for each call that is done.

    Raises:
        ValignError: The server cannot be started, or a call fails; the server is ended.
    """
    server.start()
    pool = ThreadPoolExecutor(_CALLS_AT_ONCE)
    try:
        futures: list[Future[Brought]] = [pool.submit(call, *each) for each in arguments]
        for future in as_completed(futures):
            future.result()
            report(1)
        return [future.result() for future in futures]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        server.end()  # the threads, which Python waits for at its end, wait for replies
        raise
    finally:
        pool.shutdown(wait=False)


def complete_tokens(server: VllmServer, model: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send one call (``/v1/completions``) and return its choice.

    Args:
        server: Is running.
        model: The model's name there.
        body: What is asked, besides the model.

    Raises:
        ValignError: The server has ended, does not answer, or refuses the call.
    """
    where, rest = f"{server.group}: vllm", f"its log: {server.child.log}"
    call = urllib.request.Request(
        f"{server.url}/completions",
        json.dumps({"model": model, **body}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {server.key}"},
    )
    try:
        with DIRECT.open(call, timeout=_CALL_SECONDS) as reply:
            choice: dict[str, Any] = json.load(reply)["choices"][0]
            return choice
    except urllib.error.HTTPError as error:
        said = one_line(_message(error))[:_ERROR_SHOWN].rstrip(".")
        server.require_running(DEATH_SECONDS)
        raise ValignError(f"{where} refuses a call (status {error.code}): {said}; {rest}") from None
    except (ValueError, KeyError, IndexError, TypeError):
        raise ValignError(f"{where} answers without a completion; {rest}") from None
    except OSError as error:
        server.require_running(DEATH_SECONDS)
        said = one_line(str(getattr(error, "reason", error)))
        raise ValignError(f"{where} does not answer ({said}); {rest}") from None


def _message(error: urllib.error.HTTPError) -> str:
    """Return what a server says of a call that it refuses."""
    try:
        found = json.loads(error.read().decode(errors="replace"))
        return str(found["error"]["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return error.reason or "nothing"
