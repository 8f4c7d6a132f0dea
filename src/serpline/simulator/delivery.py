"""Send a reply: whole, or broken by a fault rule.

Broken replies write to the connection itself, below the server's HTTP code. Every endless reply
ends when the client disconnects, when the simulator closes, or at its size limit.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any

from serpline.core.clock import Clock
from serpline.simulator.faults import PAGES, TEXTS, Rule
from serpline.simulator.seeds import stamp, unit
from serpline.simulator.wire import Reply

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HUGE_BODY_BYTES = 10_000_000_000
GZIP_BOMB_BYTES = 1_000_000_000
ENDLESS_HEADERS_BYTES_MAX = 1_000_000_000
_SLOW_SECONDS, _DRIP_SECONDS = 10.0, 1.0
_CHUNK = b"0" * 65_536
_BUFFER_BYTES_MAX = 1_000_000
NONSENSE = (
    b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>",
    b"",
    b"null",
    b"[]",
    b'{"unexpected": [1, 2, {"a": NaN}]}',
    b"\xff\xfe\x00not text",
    b'{"request_info": {"success": "maybe"}, "status": "???", "items": 5, "tasks": "none"}',
)


class Connection:
    """The connection of one request: receive, send and transport."""

    def __init__(
        self, receive: Receive, send: Send, transport: Any, closing: asyncio.Event, head: bool
    ) -> None:
        self.receive = receive
        self.send = send
        self.transport = transport
        self.closing = closing
        self.head = head

    async def wait_closed(self) -> None:
        """Wait until the client disconnects or the simulator closes."""
        waits = [
            asyncio.ensure_future(self._disconnected()),
            asyncio.ensure_future(self.closing.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _disconnected(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def run_until_closed(self, work: Awaitable[None]) -> None:
        """Run ``work`` until it ends, the client disconnects, or the simulator closes."""
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self.wait_closed())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def deliver(
    connection: Connection, reply: Reply, rule: Rule | None, clock: Clock, seed: int, identity: str
) -> None:
    """Send a reply, broken by ``rule`` if given."""
    fault = rule.fault if rule else ""
    if rule is None or fault.isdigit() or fault in ("expired_links", *TEXTS, *PAGES):
        await _whole(connection, reply)
    elif fault == "slow":
        seconds = _SLOW_SECONDS if rule.seconds is None else rule.seconds
        await connection.run_until_closed(_delayed(connection, reply, clock, seconds))
    elif fault == "hung":
        await connection.wait_closed()
        connection.transport.abort()
    elif fault == "cut":
        if rule.where == "body":
            await _part(connection, reply)
        connection.transport.abort()
    elif fault == "malformed":
        text = NONSENSE[stamp(seed, "nonsense", identity) % len(NONSENSE)]
        await _whole(connection, Reply(200, text, reply.headers))
    elif fault == "truncated":
        share = 0.05 + 0.9 * unit(seed, "truncated", identity)
        await _whole(connection, Reply(reply.status, _cut(reply.body, share), reply.headers))
    elif fault == "slowloris":
        seconds = _DRIP_SECONDS if rule.seconds is None else rule.seconds
        await connection.run_until_closed(_drip(connection, reply, seconds))
        connection.transport.abort()
    elif fault == "endless_headers":
        await connection.run_until_closed(_endless_headers(connection.transport))
        connection.transport.abort()
    elif fault == "huge_body":
        size = rule.size_bytes or HUGE_BODY_BYTES
        await connection.run_until_closed(_huge(connection, size, announced=rule.announced))
    else:
        bomb = await asyncio.to_thread(_bomb, rule.size_bytes or GZIP_BOMB_BYTES)
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        await _whole(connection, Reply(200, bomb, headers))


async def _whole(connection: Connection, reply: Reply) -> None:
    await _start(connection, reply.status, reply.headers, len(reply.body))
    body = b"" if connection.head else reply.body
    await connection.send({"type": "http.response.body", "body": body})


async def _start(
    connection: Connection, status: int, headers: MutableMapping[str, str], size: int | None
) -> None:
    sent = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    if size is not None:
        sent.append((b"content-length", str(size).encode()))
    await connection.send({"type": "http.response.start", "status": status, "headers": sent})


async def _delayed(connection: Connection, reply: Reply, clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)
    await _whole(connection, reply)


async def _part(connection: Connection, reply: Reply) -> None:
    """Send the head, with the full length, and half of the body."""
    await _start(connection, reply.status, reply.headers, max(2, len(reply.body)))
    half = reply.body[: len(reply.body) // 2] or b" "
    await connection.send({"type": "http.response.body", "body": half, "more_body": True})


def _cut(body: bytes, share: float) -> bytes:
    return body[: int(len(body) * share)]


async def _drip(connection: Connection, reply: Reply, seconds: float) -> None:
    await _start(connection, reply.status, reply.headers, max(1, len(reply.body)))
    for byte in reply.body or b" ":
        await connection.send(
            {"type": "http.response.body", "body": bytes([byte]), "more_body": True}
        )
        await asyncio.sleep(seconds)


async def _endless_headers(transport: Any) -> None:
    transport.write(b"HTTP/1.1 200 OK\r\n")
    sent = 0
    while sent < ENDLESS_HEADERS_BYTES_MAX and not transport.is_closing():
        full = transport.get_write_buffer_size() > _BUFFER_BYTES_MAX
        if not full:
            block = b"".join(b"x-h-%d: %s\r\n" % (sent + i, _CHUNK[:200]) for i in range(40))
            transport.write(block)
            sent += len(block)
        await asyncio.sleep(0.01 if full else 0)


async def _huge(connection: Connection, size: int, *, announced: bool) -> None:
    headers = {"content-type": "application/json"}
    await _start(connection, 200, headers, size if announced else None)
    left = size
    while left > 0:
        part = _CHUNK[: min(left, len(_CHUNK))]
        left -= len(part)
        await connection.send({"type": "http.response.body", "body": part, "more_body": left > 0})
        # Yield to other tasks: sending into an open window never does.
        await asyncio.sleep(0)


@lru_cache(maxsize=4)
def _bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = b" " * 1_000_000
    parts = [packer.compress(zeros) for _ in range(max(1, size // len(zeros)))]
    return b"".join([*parts, packer.flush()])
