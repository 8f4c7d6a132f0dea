"""A worker's life: heartbeat, session lock, leases; and the take-over of workers that died.

The lease of a chunk ends by the monotonic clock when no heartbeat has been written for as long as
others would need to declare this worker dead, less a margin. So a worker that was frozen and
thaws knows, before it pays for anything, that its chunks may have gone to somebody else. The
server ends the lock's session when it has been silent for that long, so that a frozen worker is
taken over like a dead one; thawed, it finds itself declared dead, and ends.

When the database was away for everybody, everybody's heartbeat is old. So whoever lost its own
lease for want of a heartbeat takes nobody over until the others have had time to beat again.
"""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from serpline.core.clock import Clock
from serpline.core.logging import get
from serpline.domain.names import JobPriority
from serpline.phases.base import LeaseCheck
from serpline.store.database import (
    Connection,
    Database,
    DatabaseUnavailable,
    TransactionConflict,
)
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import workers
from serpline.store.runs.releases import give_back

log = get(__name__)


class Lifeline:
    """Keeps one worker alive in the eyes of the others."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        heartbeat_seconds: float,
        dead_after_seconds: float,
        before_giving_back: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``before_giving_back`` returns when all that was paid for is durable."""
        self._before_giving_back = before_giving_back
        self._database = database
        self._clock = clock
        self._heartbeat_seconds = heartbeat_seconds
        self.dead_after_seconds = dead_after_seconds
        self._lease_ends = 0.0
        self._takeover_grace_until = 0.0
        self._leaving = False
        self._lapses = 0
        self._at_work: Counter[int] = Counter()
        self._held: set[tuple[int, int]] = set()
        self._revoked: set[tuple[int, int]] = set()
        self.worker_id = 0
        self.declared_dead = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Register, beat until the block ends, then leave in good order."""
        async with self._database.transaction() as conn:
            started = self._clock.monotonic()
            self.worker_id = await workers.register(conn, socket.gethostname(), os.getpid())
        self._extend(started)
        # After an outage of the database a new worker may be there before those who lived on.
        self._takeover_grace_until = started + self.dead_after_seconds
        beating = asyncio.create_task(self._beat_until_cancelled())
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            self.end_leases()
            await self._leave()

    @property
    def has_lease(self) -> bool:
        """Whether this worker may own and pay for anything now, by the monotonic clock."""
        return self._clock.monotonic() < self._lease_ends

    def lapses(self) -> int:
        """How often the lease has ended for want of a heartbeat. What was begun before such an end
        may have failed because this worker was cut off, and says nothing about others."""
        return self._lapses + (not self.has_lease)

    def end_leases(self) -> None:
        """End every lease, now and for good: work in hand stops before its next paid call."""
        self._leaving = True
        self._lease_ends = 0.0

    async def _leave(self) -> None:
        try:
            async with self._database.transaction() as conn:
                left = await workers.leave(conn, self.worker_id)
                await wake(conn, [WakeUp("chunk", str(chunk_id)) for chunk_id in left])
        except (DatabaseUnavailable, TransactionConflict) as error:
            # The others take the chunks over as soon as the database is back.
            log.warning("worker.leave_failed", action="worker.leave_failed", error=str(error))

    @contextmanager
    def at_work(self, chunk_id: int) -> Iterator[None]:
        """Around all that is done to a chunk, from before its claim until after its release.

        A chunk that this worker owns and is not at work on is given back with the next heartbeat:
        its claim was committed unheard, or its release failed.
        """
        self._at_work[chunk_id] += 1
        try:
            yield
        finally:
            self._at_work[chunk_id] -= 1
            self._at_work += Counter()  # drops what is zero

    @contextmanager
    def holding(self, chunk_id: int, epoch: int) -> Iterator[LeaseCheck]:
        """The lease of a chunk that was just claimed."""
        key = (chunk_id, epoch)
        self._held.add(key)
        try:
            yield lambda: key not in self._revoked and self.has_lease
        finally:
            self._held.discard(key)
            self._revoked.discard(key)

    async def _beat_until_cancelled(self) -> None:
        while True:
            try:
                await self._beat_until_dead()
                log.error("worker.dead", action="worker.dead", worker=self.worker_id)
                self.end_leases()
                self.declared_dead.set()
                return
            except (DatabaseUnavailable, TransactionConflict) as error:
                log.warning("worker.no_heartbeat", action="worker.no_heartbeat", error=str(error))
            except Exception:
                # Without a heart this process would go on as a ghost that owns and does nothing.
                log.exception("worker.no_heartbeat", action="worker.no_heartbeat")
            await self._clock.sleep(min(1.0, self._heartbeat_seconds))

    async def _beat_until_dead(self) -> None:
        locked = False
        # The beat goes over the session that holds the lock, so a lost session is noticed.
        async with self._database.session() as session:
            await workers.set_idle_timeout(session, self.dead_after_seconds)
            while True:
                # Someone who tries whether we are dead may hold it for an instant.
                locked = locked or await workers.hold_lock(session, self.worker_id)
                if not await self._beat(session):
                    return
                await self._clock.sleep(self._heartbeat_seconds)

    async def _beat(self, session: Connection) -> bool:
        started = self._clock.monotonic()
        held_before, at_work_before = set(self._held), set(self._at_work)
        owned = await workers.beat(session, self.worker_id)
        if owned is None:
            return False
        if not self.has_lease:
            self._lapses += 1
            self._takeover_grace_until = self._clock.monotonic() + self.dead_after_seconds
        self._extend(started)
        # What was claimed while the query ran is not among those held before it.
        wanted = {key for key, is_wanted in owned.items() if is_wanted}
        self._revoked.update((held_before - wanted) & self._held)
        orphaned = [key for key in owned if key[0] not in at_work_before | set(self._at_work)]
        if orphaned:
            await self._give_back(orphaned)
        return True

    async def _give_back(self, orphaned: list[tuple[int, int]]) -> None:
        if self._before_giving_back is not None:
            try:
                async with asyncio.timeout(self._heartbeat_seconds):
                    await self._before_giving_back()
            except (TimeoutError, DatabaseUnavailable):
                return  # The next owner must find what was paid for: the next beat tries again.
        async with self._database.transaction() as conn:
            given = await give_back(conn, self.worker_id, orphaned)
            await wake(conn, [WakeUp("chunk", str(chunk_id)) for chunk_id in given])
        log.warning("chunk.orphaned", action="chunk.orphaned", chunks=given)

    def _extend(self, since: float) -> None:
        margin = self.dead_after_seconds * 0.25
        if not self._leaving:
            self._lease_ends = since + self.dead_after_seconds - margin

    async def take_over(self) -> list[int]:
        """Take over the chunks of the dead; returns their ids, ready and announced."""
        if not self.has_lease or self._clock.monotonic() < self._takeover_grace_until:
            return []
        async with self._database.transaction() as conn:
            dead = await workers.take_over_dead(conn, self.dead_after_seconds)
            orphans = [chunk_id for ids in dead.values() for chunk_id in ids]
            await wake(
                conn, [WakeUp("chunk", str(chunk_id), JobPriority.HIGH) for chunk_id in orphans]
            )
        for worker_id, ids in dead.items():
            log.warning(
                "worker.taken_over", action="worker.taken_over", worker=worker_id, chunks=len(ids)
            )
        return orphans
