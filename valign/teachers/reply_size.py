"""How large a server's reply may be, packed and unpacked: one that never ends does not fill this process's memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

LARGEST_REPLY = 32 << 20  # bytes; a reply of fifty long answers with their thoughts has less than a tenth
ENCODING = "content-encoding"


class TooLarge(OSError):
    """A reply has more bytes than any completion takes."""


class _Limited(httpx2.AsyncByteStream):
    """The parts of a stream, up to the limit."""

    def __init__(self, parts: AsyncIterator[bytes], source: httpx2.AsyncByteStream) -> None:
        self._parts = parts
        self._source = source

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._parts:
            size += len(part)
            if size > LARGEST_REPLY:
                raise TooLarge
            yield part

    async def aclose(self) -> None:
        await self._source.aclose()


async def limit_reply(response: httpx2.Response) -> None:
    """Let a response that is not read yet be read up to the limit alone: its bytes, and what they unpack to.

    A small part of a reply that is packed several times over can already unpack to more than there is memory, so such
    a reply is not unpacked.

    Raises:
        TooLarge: It is packed several times; reading it raises the same where it is too large.
    """
    source = response.stream
    assert isinstance(source, httpx2.AsyncByteStream)
    packed = _Limited(aiter(source), source)
    if "," in response.headers.get(ENCODING, ""):
        raise TooLarge
    unpacked = httpx2.Response(response.status_code, headers=response.headers, stream=packed)
    response.stream = _Limited(unpacked.aiter_bytes(), source)
    response.headers.pop(ENCODING, None)
