"""A proxy in front of PostgreSQL that cuts connections at chosen points of the protocol.

It listens on loopback and passes everything on to the server's socket. Of the protocol it reads
only the ends of messages and COMMIT. ``arm`` chooses a point: the connection of the next matching
message is cut there, in both directions. ``shut`` cuts every connection and refuses new ones for a
while.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

_COMMIT = b"COMMIT\x00"
_QUERY, _SYNC = b"Q", b"S"
_BUFFER_BYTES = 65536


class CutPoint(Enum):
    """The point at which a connection is cut."""

    ACKNOWLEDGEMENT = "the server gets COMMIT and commits; its answer is lost"
    COMMIT = "COMMIT is lost on its way to the server"
    ANSWER = "the server gets a statement; its answer is lost"


@dataclass(slots=True, eq=False)
class _Connection:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    lost: CutPoint | None = None
    """If set, the next answer is lost."""

    def cut(self) -> None:
        """Cut both directions at once."""
        self.client.transport.abort()
        self.server.transport.abort()


@dataclass(slots=True)
class Proxy:
    """A proxy. One cut point is armed at a time."""

    path: Path
    port: int = 0
    cuts_made: Counter[CutPoint] = field(default_factory=Counter)
    _open: set[_Connection] = field(default_factory=set)
    _is_shut: bool = False
    _armed: CutPoint | None = None
    _skip: int = 0

    def arm(self, point: CutPoint, skip: int) -> None:
        """Cut at the next matching message after ``skip`` others."""
        self._armed, self._skip = point, skip

    async def shut(self, seconds: float) -> int:
        """Cut every connection and refuse new ones for ``seconds``; returns how many were cut."""
        self._is_shut, cut = True, list(self._open)
        for connection in cut:
            connection.cut()
        await asyncio.sleep(seconds)
        self._is_shut = False
        return len(cut)

    async def serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Pass one connection on until either side ends it, or it is cut."""
        if self._is_shut:
            client.transport.abort()
            return
        from_server, server = await asyncio.open_unix_connection(self.path)
        connection = _Connection(client, server)
        self._open.add(connection)
        ways = [
            asyncio.create_task(self._up(connection, reader)),
            asyncio.create_task(self._down(connection, from_server)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open.discard(connection)
            connection.cut()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _up(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            # The start-up message, or a cancel request, has a length and no kind.
            kind = b""
            while True:
                size = await reader.readexactly(4)
                body = await reader.readexactly(int.from_bytes(size) - 4)
                point = self._fits(kind, body)
                if point is CutPoint.COMMIT:
                    self.cuts_made[point] += 1
                    return
                connection.lost = connection.lost or point
                connection.server.write(kind + size + body)
                await connection.server.drain()
                kind = await reader.readexactly(1)

    async def _down(self, connection: _Connection, from_server: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await from_server.read(_BUFFER_BYTES):
                if connection.lost is not None:
                    self.cuts_made[connection.lost] += 1
                    return
                connection.client.write(data)
                await connection.client.drain()

    def _fits(self, kind: bytes, body: bytes) -> CutPoint | None:
        """The armed point, if this message is the one to cut at."""
        if self._armed is CutPoint.ANSWER:
            fits = kind in (_QUERY, _SYNC)
        else:
            fits = kind == _QUERY and body == _COMMIT
        if self._armed is None or not fits:
            return None
        if self._skip:
            self._skip -= 1
            return None
        point, self._armed = self._armed, None
        return point


@asynccontextmanager
async def open_proxy(path: Path) -> AsyncIterator[Proxy]:
    """A proxy in front of the server that listens at ``path``."""
    made = Proxy(path)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
