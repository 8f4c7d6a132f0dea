"""One request and its reply over a pool, within every limit.

Promise: until a reply is complete and within the caller's limit, its body takes a small constant of
memory. Other tasks run, however the peer slices its reply. A connection returns to the pool only if
its reply was read to the end. The body comes without the secrets.
Redirects and the deadline are the client's.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing

import httpcore2
import httpx2

from serpline.core.spool import Spool
from serpline.net.body import Body
from serpline.net.errors import broken, refused
from serpline.net.inflate import Inflater
from serpline.net.limits import CHUNKS_PER_TURN, HEADERS_MAX
from serpline.net.stream import transfer

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})


class Raw:
    """A raw reply: status, headers (lower-case names, repeated ones joined), body.

    A body on disk is in ``spool`` instead.
    """

    __slots__ = ("body", "headers", "location", "spool", "status")

    def __init__(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.body = body
        self.spool: Spool | None = None
        self.headers: dict[str, str] = {}
        for name, value in headers:
            known = self.headers.get(name)
            self.headers[name] = value if known is None else f"{known}, {value}"
        self.location = next((value for name, value in headers if name == "location"), None)

    @property
    def redirects(self) -> bool:
        """Whether the reply is a redirect with a location."""
        return self.status in REDIRECT_STATUSES and self.location is not None


async def exchange(
    pool: httpcore2.AsyncConnectionPool,
    method: str,
    url: httpx2.URL,
    *,
    headers: Mapping[str, str],
    content: bytes | None,
    size_bytes_max: int,
    body: Body,
    stop_at_redirect: bool,
) -> Raw:
    """Send a request and read its reply into ``body``.

    With ``stop_at_redirect`` a redirect's body is not read and is empty.
    """
    target = httpcore2.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )
    lines = [(name.encode("ascii"), value.encode()) for name, value in headers.items()]
    current = transfer.get()
    current.expect_head()
    async with pool.stream(method, target, headers=lines, content=content) as response:
        if response.status == 101:
            raise broken("the peer switched protocols unasked")
        if current.received_bytes == 0:
            # The bytes were in the buffer before we asked: they belong to the previous reply.
            raise broken("a reply came before its request")
        head = _decoded(response.headers)
        reply = Raw(response.status, head, b"")
        if stop_at_redirect and reply.redirects:
            return reply
        if method != "HEAD":
            current.expect_body(size_bytes_max)
            _check_announced(reply.headers, size_bytes_max)
        encoding = reply.headers.get("content-encoding", "")
        await _read_body(response, encoding, size_bytes_max, body)
        reply.body, reply.spool = await body.finish()
        return reply


def _check_announced(headers: Mapping[str, str], size_bytes_max: int) -> None:
    announced = headers.get("content-length", "")
    if announced.isascii() and announced.isdigit():
        _check_size(int(announced[:20]), size_bytes_max)


async def _read_body(
    response: httpcore2.Response, content_encoding: str, size_bytes_max: int, body: Body
) -> None:
    raw_bytes = 0
    turns = 0
    inflater: Inflater | None = None
    async with aclosing(response.aiter_stream()) as chunks:
        async for chunk in chunks:
            inflater = inflater or Inflater(content_encoding, size_bytes_max)
            # Bound compressed input that yields no output, too.
            raw_bytes += len(chunk)
            _check_size(raw_bytes, size_bytes_max)
            for piece in inflater.pieces(chunk):
                await body.write(piece)
                _check_size(body.size_bytes, size_bytes_max)
                turns += 1
                if turns % CHUNKS_PER_TURN == 0 or len(piece) > len(chunk):
                    await asyncio.sleep(0)
    if inflater is not None:
        for piece in inflater.finish():
            await body.write(piece)
            _check_size(body.size_bytes, size_bytes_max)


def _check_size(size_bytes: int, size_bytes_max: int) -> None:
    if size_bytes > size_bytes_max:
        raise refused(f"the body is larger than {size_bytes_max} bytes")


def _decoded(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    if len(headers) > HEADERS_MAX:
        raise refused(f"the reply has more than {HEADERS_MAX} headers")
    return [(name.decode("ascii").lower(), _text(value)) for name, value in headers]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
