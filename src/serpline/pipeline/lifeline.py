"""A worker's life: heartbeat, session lock, leases; and the take-over of workers that died.

The lease of a chunk ends by the monotonic clock when no heartbeat has been written for as long as
others would need to declare this worker dead, less a margin. So a worker that was frozen and
thaws knows, before it pays for anything, that its chunks may have gone to somebody else.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from serpline.core.clock import Clock
from serpline.core.logging import get
from serpline.domain.names import JobPriority
from serpline.phases.base import LeaseCheck
from serpline.store import workers
from serpline.store.chunks import held_by
from serpline.store.database import Database, DatabaseUnavailable, TransactionConflict
from serpline.store.wakeups import WakeUp, wake

log = get(__name__)


class Lifeline:
    """Keeps one worker alive in the eyes of the others."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        heartbeat_seconds: float = 5.0,
        dead_after_seconds: float = 20.0,
    ) -> None:
        self._database = database
        self._clock = clock
        self._heartbeat_seconds = heartbeat_seconds
        self._dead_after_seconds = dead_after_seconds
        self._lease_ends = 0.0
        self._held: set[tuple[int, int]] = set()
        self._revoked: set[tuple[int, int]] = set()
        self.worker_id = 0
        self.declared_dead = asyncio.Event()

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """Register, beat until the block ends, then leave in good order."""
        async with self._database.transaction() as conn:
            started = self._clock.monotonic()
            self.worker_id = await workers.register(conn, socket.gethostname(), os.getpid())
        self._extend(started)
        beating = asyncio.create_task(self._beat_until_cancelled())
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            self._lease_ends = 0.0
            async with self._database.transaction() as conn:
                left = await workers.leave(conn, self.worker_id)
                await wake(conn, [WakeUp("chunk", str(chunk_id)) for chunk_id in left])

    @contextmanager
    def holding(self, chunk_id: int, epoch: int) -> Iterator[LeaseCheck]:
        """The lease of a chunk that was just claimed."""
        key = (chunk_id, epoch)
        self._held.add(key)
        try:
            yield lambda: key not in self._revoked and self._clock.monotonic() < self._lease_ends
        finally:
            self._held.discard(key)
            self._revoked.discard(key)

    async def _beat_until_cancelled(self) -> None:
        while True:
            try:
                async with self._database.session() as session:
                    await workers.hold_lock(session, self.worker_id)
                    while await self._beat():
                        await self._clock.sleep(self._heartbeat_seconds)
                log.error("worker.dead", action="worker.dead", worker=self.worker_id)
                self.declared_dead.set()
                return
            except (DatabaseUnavailable, TransactionConflict) as error:
                log.warning("worker.no_heartbeat", action="worker.no_heartbeat", error=str(error))
                await self._clock.sleep(min(1.0, self._heartbeat_seconds))

    async def _beat(self) -> bool:
        started, held_before = self._clock.monotonic(), set(self._held)
        async with self._database.transaction() as conn:
            alive = await workers.beat(conn, self.worker_id)
            holding = await held_by(conn, self.worker_id)
        if alive:
            self._extend(started)
            # What was claimed while the query ran is not among those held before it.
            self._revoked.update((held_before - holding) & self._held)
        return alive

    def _extend(self, since: float) -> None:
        margin = self._dead_after_seconds * 0.25
        self._lease_ends = since + self._dead_after_seconds - margin

    async def take_over(self) -> list[int]:
        """Take over the chunks of the dead; returns their ids, ready and announced."""
        async with self._database.transaction() as conn:
            dead = await workers.take_over_dead(conn, self._dead_after_seconds)
            orphans = [chunk_id for ids in dead.values() for chunk_id in ids]
            await wake(
                conn, [WakeUp("chunk", str(chunk_id), JobPriority.HIGH) for chunk_id in orphans]
            )
        for worker_id, ids in dead.items():
            log.warning(
                "worker.taken_over", action="worker.taken_over", worker=worker_id, chunks=len(ids)
            )
        return orphans
