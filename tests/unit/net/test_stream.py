"""The connection that counts what it reads."""

import contextlib
import socket
from collections.abc import AsyncIterator

import anyio.abc
import pytest
from httpcore2 import AsyncHTTP11Connection, ReadError, WriteError

from serpline.net.errors import NetError
from serpline.net.limits import (
    BODY_READ_BYTES,
    HEAD_BYTES_MAX,
    HEAD_READ_BYTES,
    WIRE_BYTES_PER_BODY_BYTE,
    WIRE_BYTES_SPARE,
)
from serpline.net.stream import Connection, Transfer, transfer


class Pair:
    """Both ends of a connection."""

    def __init__(self, ours: socket.socket, theirs: anyio.abc.SocketStream) -> None:
        self.stream = Connection(ours)
        self.theirs = theirs
        self.transfer = Transfer()
        # A fixture's context is not the test's.
        transfer.set(self.transfer)

    async def drain(self) -> int:
        """Feed and read until the stream refuses. Returns the bytes read since the last write."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.theirs.send, bytes(4 * HEAD_BYTES_MAX + 8 * WIRE_BYTES_SPARE))
            with pytest.raises(NetError) as caught:
                await self._read_on()
            tasks.cancel_scope.cancel()
        assert caught.value.permanent
        return self.transfer.received_bytes

    async def _read_on(self) -> None:
        while True:
            await self.stream.read(10**6)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    left, right = socket.socketpair(socket.AF_UNIX)
    left.setblocking(False)
    right.setblocking(False)
    theirs = await anyio.abc.SocketStream.from_socket(right)
    made = Pair(left, theirs)
    yield made
    await made.stream.aclose()
    await theirs.aclose()


async def test_head_is_read_in_small_pieces_up_to_its_limit(pair: Pair) -> None:
    """Before the body is allowed, our limit comes before the parser's own."""
    await pair.theirs.send(bytes(BODY_READ_BYTES))
    assert len(await pair.stream.read(10**6)) == HEAD_READ_BYTES
    taken = await pair.drain()
    assert HEAD_BYTES_MAX <= taken < HEAD_BYTES_MAX + HEAD_READ_BYTES
    assert HEAD_BYTES_MAX + HEAD_READ_BYTES < AsyncHTTP11Connection.MAX_INCOMPLETE_EVENT_SIZE


async def test_body_gets_room_for_its_framing(pair: Pair) -> None:
    """After the head, the body's limit, its framing and a small reserve may be read."""
    await pair.theirs.send(b"head")
    await pair.stream.read(10**6)
    pair.transfer.expect_body(1000)
    room = 4 + 1000 * WIRE_BYTES_PER_BODY_BYTE + WIRE_BYTES_SPARE
    assert room <= await pair.drain() < room + BODY_READ_BYTES


async def test_every_request_starts_a_new_count(pair: Pair) -> None:
    """Writing resets the count, so a long-lived connection never runs out of room."""
    await pair.theirs.send(b"reply")
    await pair.stream.read(10**6)
    assert pair.transfer.received_bytes == 5
    await pair.stream.write(b"")
    assert pair.transfer.received_bytes == 5
    await pair.stream.write(b"next request")
    assert pair.transfer.received_bytes == 0


async def test_closed_peer_is_seen(pair: Pair) -> None:
    """A closed peer makes an idle connection readable, ends reads and fails writes."""
    assert pair.stream.get_extra_info("is_readable") is False
    await pair.theirs.aclose()
    assert pair.stream.get_extra_info("is_readable") is True
    assert await pair.stream.read(10) == b""
    # The socket's buffer may still accept the first write.
    with contextlib.suppress(WriteError):
        await pair.stream.write(b"x")
    with pytest.raises(WriteError):
        await pair.stream.write(b"x")
    await pair.stream.aclose()
    assert pair.stream.get_extra_info("is_readable") is True
    with pytest.raises(ReadError):
        await pair.stream.read(10)
