"""A reply's body while it is read: in memory as long as it is small, beyond that on disk.

Promise: whatever its sender makes of it, no body holds more than ``BODY_MEMORY_BYTES`` before it is
whole and within its limit. Secrets are taken out on the way. Limit: where the disk takes nothing,
the body stays in memory, because the reply may have been paid for.
"""

import asyncio
import io
from collections.abc import Sequence

from serpline.core.logging import get
from serpline.core.masking import StreamMask
from serpline.core.spool import Spool
from serpline.net.limits import BODY_MEMORY_BYTES, SECRET_CHARS_MIN

_log = get("net")


class Body:
    """Takes the pieces, decoded; ``size_bytes`` is how much came."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self.size_bytes = 0
        self._mask = StreamMask(secrets, SECRET_CHARS_MIN)
        self._memory = io.BytesIO()  # gives its bytes away without copying them
        self._spool: Spool | None = None
        self._disk_works = True

    async def write(self, piece: bytes) -> None:
        """Add a piece."""
        self.size_bytes += len(piece)
        await self._keep(self._mask.feed(piece))

    async def finish(self, *, large: bool) -> tuple[bytes, Spool | None]:
        """The whole body: on disk if it is there and ``large`` ones are wanted, else in memory."""
        await self._keep(self._mask.finish())
        if self._spool is None or large:
            return self._memory.getvalue(), self._spool
        return await asyncio.to_thread(self._spool.open().read), None

    async def _keep(self, data: bytes) -> None:
        small = self._memory.tell() + len(data) <= BODY_MEMORY_BYTES
        if self._spool is None and (small or not self._disk_works):
            self._memory.write(data)
            return
        try:
            await asyncio.to_thread(self._to_disk, data)
        except OSError as error:
            _log.warning("body kept in memory", action="spool_failed", reason=str(error))
            await asyncio.to_thread(self._back_to_memory, data)

    def _to_disk(self, data: bytes) -> None:
        if self._spool is None:
            spool = Spool()
            spool.write(self._memory.getvalue())
            self._spool, self._memory = spool, io.BytesIO()
        self._spool.write(data)

    def _back_to_memory(self, data: bytes) -> None:
        self._disk_works = False
        if self._spool is not None:
            self._memory.write(self._spool.open().read())
            self._spool = None
        self._memory.write(data)
