"""A reply's body while it is read: the beginning in memory, the rest on disk.

Promise: until a body is complete and within its limit, it takes about ``BODY_MEMORY_BYTES`` of
memory. The secrets are removed before it is returned or written to disk.
Limit: when the disk is full, a body that was asked for in memory stays in memory, because the reply
may be paid for. A large body fails.
"""

import asyncio
import io
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from serpline.core.logging import get
from serpline.core.masking import StreamMask
from serpline.core.spool import Spool
from serpline.net.limits import BODY_MEMORY_BYTES, SECRET_CHARS_MIN

T = TypeVar("T")

_log = get("net")


class Body:
    """Collects decoded pieces. ``size_bytes`` is the size so far.

    ``threads`` write to disk. They do nothing else, because the request's deadline is running.
    """

    def __init__(self, secrets: Sequence[str], threads: Executor, *, large: bool) -> None:
        self.size_bytes = 0
        self._mask = StreamMask(secrets, SECRET_CHARS_MIN)
        self._threads = threads
        self._large = large
        self._latest = io.BytesIO()  # ``getvalue`` does not copy
        self._spool: Spool | None = None
        self._unspooled: bytes | None = None

    async def write(self, piece: bytes) -> None:
        """Add a piece. Raises ``OSError`` if a large body cannot be written to disk."""
        self.size_bytes += len(piece)
        self._latest.write(piece)
        if self._latest.tell() > BODY_MEMORY_BYTES and self._unspooled is None:
            await self._spill()

    async def finish(self) -> tuple[bytes, Spool | None]:
        """The complete body: in memory, or on disk if it is large and ``large`` was given."""
        if self._spool is not None:
            await self._spill(last=True)
        if self._spool is None:
            rest = self._mask.feed(self._latest.getvalue()) + self._mask.finish()
            return (self._unspooled or b"") + rest, None
        if self._large:
            return b"", self._spool
        return await self._in_thread(self._spool.open().read), None

    async def _spill(self, *, last: bool = False) -> None:
        latest, self._latest = self._latest.getvalue(), io.BytesIO()
        await self._in_thread(self._write, latest, last)

    def _write(self, latest: bytes, last: bool) -> None:
        data = self._mask.feed(latest) + (self._mask.finish() if last else b"")
        try:
            self._spool = self._spool or Spool()
            self._spool.write(data)
        except OSError as error:
            if self._large:
                raise
            _log.warning("body kept in memory", action="spool_failed", reason=str(error))
            self._unspooled = (self._spool.open().read() if self._spool else b"") + data
            self._spool = None

    async def _in_thread(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
