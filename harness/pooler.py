"""A connection pooler in transaction mode, like PgBouncer: the wire protocol and nothing more.

A client gets an invented process id. Its messages go to an idle server connection, the most
recently used first. The connection is free again when the server reports "ready" outside a
transaction. Of the start-up parameters only the user and the database reach the server (PgBouncer:
``ignore_startup_parameters``).
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_SSL, _GSS = 80877103, 80877104
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Pooler:
    """A pooler between clients and the PostgreSQL at a socket."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._idle: list[tuple[Stream, bytes]] = []
        self._opened: list[Stream] = []
        self._clients: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client, from its start-up to its end."""
        self._clients.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            start = await _start_up(reader, writer)
            backend = await self._backend(start)
            self._idle.append(backend)
            writer.write(backend[1])
            while True:
                kind, message = await _message(reader)
                if kind == b"X":
                    break
                backend = await self._backend(start)
                await self._transaction(backend[0], kind + message, (reader, writer))
                self._idle.append(backend)
        writer.close()

    async def _backend(self, start: bytes) -> tuple[Stream, bytes]:
        if self._idle:
            return self._idle.pop()
        stream = await asyncio.open_unix_connection(str(self._server))
        self._opened.append(stream)
        stream[1].write(start)
        greeting = b""
        while True:
            kind, message = await _message(stream[0])
            if kind == b"K":
                message = struct.pack("!iii", 12, 4_000_000, 7)
            greeting += kind + message
            if kind in (b"Z", b"E"):
                return stream, greeting

    async def _transaction(self, server: Stream, sent: bytes, client: Stream) -> None:
        """Pass messages both ways until the server is ready outside a transaction."""
        server[1].write(sent)

        async def up() -> None:
            while True:
                kind, message = await _message(client[0])
                server[1].write(kind + message)

        upward = asyncio.create_task(up())
        try:
            while True:
                kind, message = await _message(server[0])
                client[1].write(kind + message)
                if kind == b"Z" and message[4:] == b"I":
                    return
        finally:
            upward.cancel()
            await asyncio.gather(upward, return_exceptions=True)

    async def close(self) -> None:
        """End every connection."""
        for writer in [*self._clients, *(writer for _, writer in self._opened)]:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _start_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    while True:
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        body = await reader.readexactly(length - 4)
        (code,) = struct.unpack("!i", body[:4])
        if code not in (_SSL, _GSS):
            break
        writer.write(b"N")
    names = body[4:].rstrip(b"\0").split(b"\0")
    kept = dict(zip(names[::2], names[1::2], strict=False))
    parts = [b"user", kept[b"user"], b"database", kept[b"database"], b"", b""]
    start = body[:4] + b"\0".join(parts)[:-1] + b"\0"
    return struct.pack("!i", len(start) + 4) + start


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    head = await reader.readexactly(4)
    (length,) = struct.unpack("!i", head)
    return kind, head + await reader.readexactly(length - 4)


@asynccontextmanager
async def pooled(server: Path) -> AsyncIterator[int]:
    """The port of a pooler in front of the PostgreSQL at the socket ``server``."""
    pooler = Pooler(server)
    async with await asyncio.start_server(pooler.serve, "127.0.0.1", 0) as listening:
        try:
            yield listening.sockets[0].getsockname()[1]
        finally:
            await pooler.close()
