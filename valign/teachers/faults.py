"""What went wrong with a call of the API teacher, and whether it may be tried again."""

from __future__ import annotations

import email.utils
import re
import time
from typing import Any

LONGEST_RETRY_AFTER = 600.0
MESSAGE_CHARACTERS = 300
TRIED_AGAIN = (408, 409, 425)
DOWN = (502, 503, 504)
CLIENT_LIBRARIES = ("aiohttp", "anyio", "httpcore2", "httpx2", "openai", "ssl")
CONNECTING = ("ConnectError", "ConnectionTimeoutError", "ClientConnectorError", "ClientConnectorDNSError")


class Fault(Exception):
    """An attempt at a call that failed.

    Attributes:
        text: What happened, as part of a sentence, without secrets.
        kind: ``fatal`` (a retry is no use), ``busy`` (the server has too many calls), ``down`` (it fails as a whole),
            ``call`` (this call failed) or ``malformed`` (the reply is not a completion).
        status: The HTTP status, if there was one.
        retry_after: Seconds that the server asks to wait.
        body: The server's message, in which parameters that it does not know are named.
    """

    def __init__(
        self, text: str, kind: str, status: int | None = None, retry_after: float | None = None, body: str = ""
    ) -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind
        self.status = status
        self.retry_after = retry_after
        self.body = body


def classify_error(error: BaseException, key: str) -> Fault:
    """Return what an exception of the client means.

    Args:
        error: What the client raised.
        key: The API key, which is left out even where the server repeats it.
    """
    status = getattr(error, "status_code", None)
    if status is not None:
        return _refusal(status, redact(str(error), key), _retry_after(getattr(error, "response", None)))
    names = [type(cause).__name__ for cause in _causes(error)]
    if isinstance(error, TimeoutError):
        return Fault("did not answer in time", "call")
    if any(name in CONNECTING for name in names):
        return Fault(f"cannot be reached ({names[-1]})", "down")
    return Fault(f"broke off the call ({names[-1]})", "call")


def _refusal(status: int, said: str, after: float | None) -> Fault:
    """Return what a reply with an error status means."""
    text = f"answered with status {status} ({said})"
    kind = "fatal"
    if status == 429 and not re.search(r"insufficient_quota|billing", said):
        kind = "busy"
    elif status in DOWN:
        kind = "down"
    elif status in TRIED_AGAIN or status >= 500:
        kind = "call"
    if kind != "fatal" and (after or 0.0) > LONGEST_RETRY_AFTER:
        return Fault(f"{text} and asks to wait {after:.0f} s", "fatal", status)
    return Fault(text, kind, status, after, said)


def is_connection_error(error: BaseException) -> bool:
    """Tell whether an exception comes from the client or the network, and not from a mistake in this program."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in CLIENT_LIBRARIES


def _causes(error: BaseException) -> list[BaseException]:
    """Return an exception and what led to it, at most eight of them."""
    found = [error]
    while len(found) < 8 and (cause := found[-1].__cause__ or found[-1].__context__):
        found.append(cause)
    return found


def _retry_after(response: Any) -> float | None:
    """Return the seconds that a response asks to wait (``retry-after-ms``, or ``Retry-After`` as seconds or a date)."""
    headers = getattr(response, "headers", {})
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after", "")
        if re.fullmatch(r"\s*\d+(\.\d*)?\s*", value):
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def redact(text: str, key: str) -> str:
    """Return the beginning of a message as one line, without the key and without logins in URLs."""
    if key:
        text = text.replace(key, "***")
    text = re.sub(r"//[^/@\s]+@", "//", text)
    return " ".join(text.split())[:MESSAGE_CHARACTERS].rstrip(". ")
