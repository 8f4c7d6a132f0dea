"""A network that falls silent: data in transit is held back, and no side gets an error.

A ``Line`` lies between clients and a server. While silent, it holds back the data of every
connection (``kept`` counts the connections and directions that hold some). ``heal`` passes it on,
as TCP does after an outage; ``cut`` ends every connection.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

_BUFFER_BYTES = 65_536


class Line:
    """A line between clients and the server at a socket's path or a port of loopback."""

    def __init__(self, server: Path | int) -> None:
        self._server = server
        self._marker: bytes | None = None
        self._passing = asyncio.Event()
        self._passing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.silent = asyncio.Event()
        self.kept = 0

    def fall_silent(self, after: bytes | None = None) -> None:
        """Hold back all data: at once, or once a client's message with ``after`` has arrived."""
        if after is None:
            self._passing.clear()
            self.silent.set()
        self._marker = after

    def heal(self) -> None:
        """Pass on the data that was held back, and all data from now on."""
        self._marker = None
        self._passing.set()

    def cut(self) -> None:
        """End every connection; data that was held back is lost."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        if isinstance(self._server, Path):
            far = await asyncio.open_unix_connection(str(self._server))
        else:
            far = await asyncio.open_connection("127.0.0.1", self._server)
        ends = {writer, far[1]}
        self._writers |= ends
        ways = [
            asyncio.create_task(self._pass_on(reader, far[1], is_client=True)),
            asyncio.create_task(self._pass_on(far[0], writer, is_client=False)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writers -= ends
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in ends:
                end.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_client: bool
    ) -> None:
        with suppress(OSError):
            while True:
                data = await reader.read(_BUFFER_BYTES)
                if not self._passing.is_set():
                    self.kept += 1
                    await self._passing.wait()
                if not data:
                    return
                writer.write(data)
                await writer.drain()
                if is_client and self._marker is not None and self._marker in data:
                    self.fall_silent()


@asynccontextmanager
async def line_to(server: Path | int) -> AsyncIterator[Line]:
    """A line to a server, open until the end of the block."""
    line = Line(server)
    async with await asyncio.start_server(line.serve, "127.0.0.1", 0) as listening:
        line.port = listening.sockets[0].getsockname()[1]
        try:
            yield line
        finally:
            line.heal()
            line.cut()


def url_over(line: Line, database_url: str) -> str:
    """The database's URL through the line."""
    url = sa.make_url(database_url).difference_update_query(["host", "port"])
    url = url.set(host="127.0.0.1", port=line.port)
    return url.render_as_string(hide_password=False)
