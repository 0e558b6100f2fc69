"""Addresses of servers: which are local, and how they are shown."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit, urlunsplit


def is_local(url: str) -> bool:
    """Tell whether a URL points to this machine, a private address, or a host named without a domain."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal"))
    return address.is_private or address.is_loopback


def is_address(url: str) -> bool:
    """Tell whether a URL names a host, and a port that there can be.

    >>> [is_address(f"http://{place}/v1") for place in ("localhost:8000", "[::1]:8000", "h:99999", "[::1", "a b", "")]
    [True, True, False, False, False, False]
    """
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and re.fullmatch(r"\S+", parts.hostname or "") is not None
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        return False


def is_broken(url: str) -> bool:
    """Tell whether a URL cannot be taken apart: no port, or a password with signs that end the host's part."""
    try:
        parts = urlsplit(url)
        return parts.port == 0 or (":" in parts.netloc and "@" in parts.path)
    except ValueError:
        return True


def strip_login(url: str) -> str:
    """Return a URL without the user name, password and query that it may hold; of a broken one nothing before an @."""
    if is_broken(url) or "//" not in url:
        return url.rpartition("@")[2]
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
