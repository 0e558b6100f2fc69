"""The HTTP clients of servers: their connections, the logins in their addresses, and what of these is secret."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from valign.core.errors import ValignError
from valign.teachers.urls import is_local

CONNECT_SECONDS = 10.0
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
KEY_BEGINS = re.compile(r"(?:sk|hf|gsk|xai|pplx|r8|nvapi|ghp|gho)_\w{10}|AIza|AKIA|eyJ")
MIXED_FROM, LONGEST_NAME, MANY_DIGITS = 16, 64, 4
SHORTEST_IN_QUERY = 8


def require_client(group: str) -> None:
    """Look whether the client's packages are installed; nothing is imported.

    Args:
        group: Where the settings stand in the config, for the message.

    Raises:
        ValignError: One is not.
    """
    if not all(find_spec(name) for name in ("aiohttp", "openai")):
        raise ValignError(f"{group} is asked through the OpenAI client: pip install 'valign[api]'.")


def make_client(openai: Any, url: str, key: str, concurrency: int, timeout: float) -> Any:
    """Return a client that keeps its connections open, never retries by itself, and is sent to no other server.

    A query in the address goes with every call; one with ``api-version`` is Azure's, which has a header of its own for
    the key. Servers of one's own are not asked through a proxy that the environment names.

    Args:
        openai: The client's module.
        url: The address, with a login or without.
        key: The API key; a login takes its place.
        concurrency: The largest number of connections.
        timeout: Seconds for the connection.
    """
    import httpx2

    from valign.teachers.reply_size import limit_reply

    headers: dict[str, str] = {}
    query = dict(parse_qsl(urlsplit(url).query))
    if "api-version" in query:
        headers["api-key"] = key
    if login := login_of(url):
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    parts = urlsplit(url)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency, keepalive_expiry=15.0)
    times = httpx2.Timeout(None, connect=min(CONNECT_SECONDS, timeout))
    direct = {"mounts": dict.fromkeys(("http://", "https://", "all://"))} if is_local(url) else {}
    http = openai.DefaultAioHttpClient(
        limits=limits, timeout=times, follow_redirects=False, event_hooks={"response": [limit_reply]}, **direct
    )
    return openai.AsyncOpenAI(
        api_key=key,
        base_url=address,
        timeout=times,
        max_retries=0,
        default_headers=headers,
        default_query=query,
        http_client=http,
    )


def check_key_name(setting: str, name: str) -> None:
    """Refuse a key in the place of the variable that holds it; the value is not repeated.

    A name is one that is set in the environment, or that reads like one: capitals, or a short word without digits
    among lower-case letters.

    Args:
        setting: The setting's key, such as ``teacher.api_key_env``.
        name: Its value.

    Raises:
        ValignError: It cannot be a name, or reads like a key.
    """
    if name in os.environ and NAME.fullmatch(name):
        return
    digits = sum(character.isdigit() for character in name)
    is_mixed = digits > 0 and any(character.islower() for character in name) and len(name) >= MIXED_FROM
    is_long = len(name) > LONGEST_NAME or (digits >= MANY_DIGITS and len(name) >= MIXED_FROM)
    if not NAME.fullmatch(name) or KEY_BEGINS.match(name) or is_mixed or is_long:
        raise ValignError(
            f"{setting} is not the name of an environment variable that is set, and reads like a key; put the key into "
            "a variable, for example OPENAI_API_KEY, and give that name."
        )


def login_of(url: str) -> str:
    """Return the login in a URL, ``user:password``; empty where it has none."""
    parts = urlsplit(url)
    return f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""


def secrets_of(key: str, urls: Sequence[str]) -> tuple[str, ...]:
    """Return what must not stand in a message: the key, and logins and queries of URLs, as they are typed and mean."""
    typed = [urlsplit(url).netloc.rpartition("@")[0] for url in urls]
    found = [key, *typed, *map(login_of, urls)]
    found += [login.partition(":")[2] for login in found[1:]]
    queries = [pair for url in urls for pair in parse_qsl(urlsplit(url).query)]
    found += [value for name, value in queries if name != "api-version" and len(value) >= SHORTEST_IN_QUERY]
    return tuple(dict.fromkeys(secret for secret in found if len(secret) > 2))
