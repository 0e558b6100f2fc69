"""The HTTP clients of servers: their connections, the logins in their addresses, and what of these is secret."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from valign.core.errors import ValignError
from valign.teachers.faults import LONGEST_ERROR, Fault, StatusError
from valign.teachers.urls import is_local

CONNECT_SECONDS, IDLE_SECONDS = 10.0, 15.0
LONGEST_BODY = 32 << 20  # bytes, unpacked; a reply of fifty long answers with their thoughts has less than a tenth
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
KEY_BEGINS = re.compile(r"(?:sk|hf|gsk|xai|pplx|r8|nvapi|ghp|gho)_\w{10}|AIza|AKIA|eyJ")
MIXED_FROM, LONGEST_NAME, MANY_DIGITS = 16, 64, 4
SHORTEST_IN_QUERY = 8

_encode = json.JSONEncoder(ensure_ascii=False).encode  # one for all calls: json.dumps makes it anew


def require_client(group: str) -> None:
    """Look whether the client's packages are installed; nothing is imported.

    Args:
        group: Where the settings stand in the config, for the message.

    Raises:
        ValignError: One is not.
    """
    if not all(find_spec(name) for name in ("aiohttp", "truststore")):
        raise ValignError(f"{group} is asked through aiohttp: pip install 'valign[api]'.")


class Client:
    """An OpenAI-compatible server's connections: kept open, never tried again, and sent to no other server.

    A query in the address goes with every call; one with ``api-version`` is Azure's, which has a header of its own for
    the key. Servers of one's own are not asked through a proxy that the environment names. Certificates are checked
    against those that the system trusts.
    """

    def __init__(self, url: str, key: str, concurrency: int, timeout: float) -> None:
        """Prepare what goes with every call.

        Args:
            url: The address up to and including ``/v1``, with a login or without.
            key: The API key; a login takes its place.
            concurrency: The largest number of connections.
            timeout: Seconds for the connection.
        """
        parts = urlsplit(url)
        self._address = parts._replace(netloc=parts.netloc.rpartition("@")[2], path=parts.path.rstrip("/"), fragment="")
        login = login_of(url)
        secret = "Basic " + base64.b64encode(login.encode()).decode() if login else f"Bearer {key}"
        self._headers = {"Accept": "application/json", "Authorization": secret, "User-Agent": "valign"}
        self._headers["Content-Type"] = "application/json"
        if "api-version" in dict(parse_qsl(parts.query)):
            self._headers["api-key"] = key
        self._proxy = None if is_local(url) else _proxy_for(url)
        self._concurrency = concurrency
        self._connect_seconds = min(CONNECT_SECONDS, timeout)
        self._urls: dict[str, Any] = {}

    async def __aenter__(self) -> Client:
        """Make the pool of connections, which belongs to the event loop."""
        import ssl

        import aiohttp
        import truststore

        trusted: Any = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self._address.scheme == "https" else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency, keepalive_timeout=IDLE_SECONDS, ssl=trusted),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            proxy=self._proxy,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_seconds),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._session.close()

    async def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Send a JSON body to a path below the address and return the reply's.

        Raises:
            StatusError: The reply has another status than one of success.
            Fault: It is larger than any completion.
            aiohttp.ClientError: There is no reply; an OSError where there is no connection.
        """
        data = _encode(body).encode("utf-8", "replace")
        return await self._send("POST", path, data)

    async def get(self, path: str) -> bytes:
        """Return what a path below the address holds; errors are those of ``post``."""
        return await self._send("GET", path)

    async def _send(self, method: str, path: str, data: bytes | None = None) -> bytes:
        async with self._session.request(method, self._url(path), data=data, allow_redirects=False) as response:
            if response.status >= 300:
                said = await _read(response, LONGEST_ERROR, is_cut=True)
                raise StatusError(response.status, response.headers, said.decode(errors="replace"))
            return await _read(response, LONGEST_BODY)

    def _url(self, path: str) -> Any:
        """Return an address as the session takes it; to parse one anew for each call would cost time."""
        from yarl import URL

        if path not in self._urls:
            self._urls[path] = URL(self._address._replace(path=self._address.path + path).geturl())
        return self._urls[path]


def _proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for an address, with ``http://`` or without."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    proxies = getproxies()
    if proxy_bypass(parts.hostname or ""):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


async def _read(response: Any, most: int, is_cut: bool = False) -> bytes:
    """Return a reply's body as it comes, decompressed.

    Args:
        response: The reply.
        most: The most bytes that are read.
        is_cut: Whether one that is longer is cut there.

    Raises:
        Fault: It is longer, and is not to be cut.
    """
    if "Content-Encoding" not in response.headers and (response.content_length or most + 1) <= most:
        return await response.read()
    found = bytearray()
    async for part in response.content.iter_any():
        found += part
        if len(found) > most:
            if is_cut:
                break
            raise Fault("sends a reply that is larger than any completion", "call")
    return bytes(found[:most])


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
