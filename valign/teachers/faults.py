"""What went wrong with a call of the API teacher, and whether it may be tried again."""

from __future__ import annotations

import base64
import html
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from valign.core.text import one_line
from valign.teachers.urls import strip_login

LONGEST_RETRY_AFTER = 600.0
MESSAGE_CHARACTERS = 300
WORDS_READ = 2000  # of an error's words, in which parameters are looked for
LONGEST_ERROR = 20_000
SHORTEST_PART = 8  # of a secret, that is hidden where it stands alone
MOST_PARTS = 5
SAID_FIELDS = ("message", "msg", "detail", "error_msg", "error_description")
WORD_FIELDS = ("error", "errors", *SAID_FIELDS, "metadata", "raw")
TRIED_AGAIN = (408, 409, 425)
BUSY = (429, 529)
DOWN = (502, 503, 504, 521, 522, 523)
CREDIT = re.compile(r"insufficient[ _](?:quota|credits?|balance|funds)|billing", re.I)
CLIENT_LIBRARIES = ("aiohttp", "ssl")
UNTRUSTED = (
    "has a certificate that this machine does not trust (set SSL_CERT_FILE to the file of the authority that signed it)"
)
NO_HTTPS = re.compile(r"wrong.version.number|record.layer.failure", re.I)
CONNECTING = ("ConnectionTimeoutError", "ClientConnectorError", "ClientConnectorDNSError")


class StatusError(Exception):
    """A reply whose status is not one of success.

    Attributes:
        status: The HTTP status.
        headers: Without regard to the case of their names.
        text: The beginning of the body.
    """

    def __init__(self, status: int, headers: Mapping[str, str], text: str) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.headers = headers
        self.text = text


class Fault(Exception):
    """An attempt at a call that failed.

    Attributes:
        text: What happened, as part of a sentence, without secrets.
        kind: ``fatal`` (a retry is no use), ``busy`` (the server has too many calls), ``down`` (it fails as a whole),
            ``call`` (this call failed) or ``malformed`` (the reply is not a completion).
        status: The HTTP status, if there was one.
        retry_after: Seconds that the server asks to wait.
        said: The server's words.
        fields: The parameters that it names as data, beside its words.
    """

    def __init__(
        self,
        text: str,
        kind: str,
        status: int | None = None,
        retry_after: float | None = None,
        said: str = "",
        fields: tuple[str, ...] = (),
    ) -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind
        self.status = status
        self.retry_after = retry_after
        self.said = said
        self.fields = fields


def classify_error(error: BaseException, secrets: Sequence[str]) -> Fault:
    """Return what an exception of the client means.

    Args:
        error: What the client raised.
        secrets: The key and logins, which are left out even where the server repeats them.
    """
    if isinstance(error, StatusError):
        if error.status < 400:
            place = error.headers.get("location", "nowhere")
            return Fault(f"sends calls on to {redact(strip_login(place), secrets)}", "fatal", error.status)
        said, fields = _words(error.text)
        return _refusal(error.status, redact(said, secrets, WORDS_READ), fields, _retry_after(error.headers))
    if isinstance(error, TimeoutError):
        return Fault("did not answer in time", "call")
    return _connection_fault(_causes(error))


def _connection_fault(causes: Sequence[BaseException]) -> Fault:
    """Return what it means that there is no reply.

    Args:
        causes: What the client raised, and what led to it.
    """
    names = [type(cause).__name__ for cause in causes]
    if any("Cert" in name for name in names):
        return Fault(UNTRUSTED, "fatal")
    if any(NO_HTTPS.search(str(cause)) for cause in causes):
        return Fault("does not speak https; its address may begin with http://", "fatal")
    if any("Proxy" in name for name in names):
        return Fault(f"is not reached through the proxy that the environment names ({names[-1]})", "down")
    if "ContentEncodingError" in names:
        return Fault("sends a reply that is not compressed as its Content-Encoding says", "call")
    if any(name in CONNECTING for name in names):
        return Fault(f"cannot be reached ({names[-1]})", "down")
    return Fault(f"broke off the call ({names[-1]})", "call")


def _words(text: str) -> tuple[str, tuple[str, ...]]:
    """Return what a server says in the body of an error, and the parameters that it names as data."""
    try:
        data = json.loads(text)
        return server_words(data), server_fields(data)
    except (ValueError, RecursionError):
        return _without_markup(text), ()


def _without_markup(text: str) -> str:
    """Return the words of an error page, as proxies send them; another text as it is."""
    if not re.match(r"\s*<(?:!doctype|html|head|body|\?xml)", text, re.I):
        return text
    text = re.sub(r"<(script|style)\b.*?(?:</\1>|$)", " ", text, flags=re.I | re.S)
    return html.unescape(re.sub(r"<[^<>]*>", " ", text))


def reply_fault(data: Any, secrets: Sequence[str]) -> Fault | None:
    """Return what a reply means that has the status of success and holds an error; None for any other reply.

    Args:
        data: The decoded reply.
        secrets: The key and logins.
    """
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, Mapping):
        return None
    choices = data.get("choices")
    broken = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(broken, Mapping) and broken.get("error"):
        data = {"error": broken["error"]}
    elif choices or not (data.get("error") or any(isinstance(data.get(name), str) for name in SAID_FIELDS)):
        return None
    said, fields = redact(server_words(data), secrets, WORDS_READ), server_fields(data)
    error = data.get("error")
    codes = [data.get("status"), data.get("code")]
    codes += [error.get("code"), error.get("status")] if isinstance(error, Mapping) else []
    status = next((int(str(code)) for code in codes if re.fullmatch(r"[45]\d\d", str(code))), None)
    if status is None:
        return Fault(f"answered with an error ({first_words(said) or 'no words'})", "call", said=said)
    return _refusal(status, said, fields, None)


def _refusal(status: int, said: str, fields: tuple[str, ...], after: float | None) -> Fault:
    """Return what a reply with an error status means."""
    text = f"answered with status {status} ({first_words(said) or 'no words'})"
    kind = "fatal"
    if status in BUSY and not CREDIT.search(said):
        kind = "busy"
    elif status in DOWN:
        kind = "down"
    elif status in TRIED_AGAIN or status >= 500:
        kind = "call"
    if kind != "fatal" and (after or 0.0) > LONGEST_RETRY_AFTER:
        return Fault(f"{text} and asks to wait {after:.0f} s", "fatal", status)
    return Fault(text, kind, status, after, said, fields)


def is_connection_error(error: BaseException) -> bool:
    """Tell whether an exception comes from the client or the network, and not from a mistake in this program."""
    return isinstance(error, (OSError, StatusError)) or type(error).__module__.partition(".")[0] in CLIENT_LIBRARIES


def _causes(error: BaseException) -> list[BaseException]:
    """Return an exception and what led to it, at most eight of them."""
    found = [error]
    while len(found) < 8 and (cause := found[-1].__cause__ or found[-1].__context__):
        found.append(cause)
    return found


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a reply asks to wait (``retry-after-ms``, or ``Retry-After`` as seconds or a date)."""
    import email.utils

    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after", "")
        if re.fullmatch(r"\s*\d+(\.\d*)?\s*", value):
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def server_words(data: Any) -> str:
    """Return what a decoded error body says, whichever dialect it is in; parameters that it names as data come along.

    >>> server_words({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]})
    'body.seed: Extra inputs are not permitted'
    >>> server_words([{"error": {"message": "Unknown value.", "param": "top_p"}}])
    'Unknown value. (top_p)'
    """
    if isinstance(data, str):
        return data
    if isinstance(data, list):
        return "; ".join(filter(None, map(server_words, data[:MOST_PARTS])))
    if not isinstance(data, Mapping):
        return "" if data is None else str(data)
    parts = list(dict.fromkeys(filter(None, (server_words(data.get(name)) for name in WORD_FIELDS))))
    if not parts and isinstance(data.get("code"), str):
        return str(data["code"])
    if not parts:
        return json.dumps(data, ensure_ascii=False)[:WORDS_READ] if data else ""
    said = ": ".join(parts)
    place = data.get("loc")
    if isinstance(place, list):
        said = f"{'.'.join(map(str, place))}: {said}"
    param = data.get("param")
    return f"{said} ({param})" if isinstance(param, str) and param not in said else said


def server_fields(data: Any) -> tuple[str, ...]:
    """Return the parameters that a decoded error body names as data: ``param``, or the end of ``loc``."""
    if isinstance(data, list):
        return tuple(name for part in data[:MOST_PARTS] for name in server_fields(part))
    if not isinstance(data, Mapping):
        return ()
    place, param = data.get("loc"), data.get("param")
    own = [str(part) for part in place] if isinstance(place, list) else []
    own += [re.split(r"[.\[]", param)[0]] if isinstance(param, str) else []
    return (*own, *(name for key in WORD_FIELDS for name in server_fields(data.get(key))))


def redact(text: str, secrets: Sequence[str], characters: int | None = None) -> str:
    """Return the beginning of a message as one line, without secrets, parts of them, and logins in URLs.

    Args:
        text: The message; it is cut only when the secrets are gone, so that no half of one is left.
        secrets: The key, passwords and what is made of them; other spellings are known (JSON, URLs, Base64).
        characters: The most that is returned; by default what a line has room for.
    """
    text = re.sub(r"//[^/\s]*@", "//", text[:LONGEST_ERROR])
    hidden = bytearray(len(text))
    for secret in {spelling for one in secrets if one for spelling in _spellings(one)}:
        size = min(len(secret), SHORTEST_PART)
        for start in range(len(secret) - size + 1):
            place = text.find(secret[start : start + size])
            while place >= 0:
                hidden[place : place + size] = b"\1" * size
                place = text.find(secret[start : start + size], place + 1)
    shown = "".join("\0" if hidden[i] else character for i, character in enumerate(text))
    return first_words(re.sub("\0+", "***", shown), characters or MESSAGE_CHARACTERS)


def first_words(text: str, characters: int = MESSAGE_CHARACTERS) -> str:
    """Return the beginning of a text as one line of printable characters."""
    return one_line(text)[:characters].rstrip(". ")


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret as servers may repeat it."""
    yield from (secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1])
    yield from (json.dumps(secret)[1:-1], json.dumps(secret)[1:-1].replace("/", "\\/"))
    yield base64.b64encode(secret.encode()).decode().rstrip("=")
