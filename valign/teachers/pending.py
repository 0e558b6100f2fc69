"""What stands for a completion that is not there yet, so that a synthesis can go on and ask for all that it lacks."""

from __future__ import annotations

import secrets

from valign.generation.requests import Completion, Request

PENDING = f"pending-{secrets.token_hex(16)}"  # drawn anew by each process, so that no text can hold it


def make_pending(request: Request) -> list[Completion]:
    """Return what stands for a request's completions; the filters drop it, and what is made of it is never asked."""
    return [Completion(PENDING, 0, False)] * request.sampling.n


def is_pending(text: str) -> bool:
    """Tell whether a text is, or was made from, a completion that is not there yet."""
    return PENDING in text


def rests_on_pending(request: Request) -> bool:
    """Tell whether a prompt holds a completion that is not there yet."""
    return any(is_pending(message["content"]) for message in request.messages)
