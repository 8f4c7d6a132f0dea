"""A worker's heartbeat, session lock and leases, and the take-over of dead workers.

Leases end by the monotonic clock, a margin before other workers may declare this one dead for
missing heartbeats. A worker that was frozen and resumes therefore knows, before its next paid call,
that another worker may own its chunks. The server ends the lock's session after the same silence,
so a frozen worker is taken over like a dead one. When it resumes, it finds itself declared dead and
exits.

After a database outage every heartbeat is old. A worker whose own lease lapsed therefore takes
over no other until they have had time to beat again.
"""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager

from serpline.core.clock import Clock
from serpline.core.logging import get
from serpline.domain.names import JobPriority
from serpline.domain.providers import SET_UP
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
    """Keep one worker registered, its heartbeat fresh and its leases valid."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        heartbeat_seconds: float,
        dead_after_seconds: float,
        before_giving_back: Callable[[], Awaitable[None]] | None = None,
        providers: Collection[str] = tuple(SET_UP),
    ) -> None:
        """``before_giving_back`` returns once every paid reply is durable.

        ``providers``: those that this worker can call.
        """
        self.providers = frozenset(providers)
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
        """Register, send heartbeats until the block ends, then give every chunk back."""
        async with self._database.transaction() as conn:
            started = self._clock.monotonic()
            self.worker_id = await workers.register(
                conn, socket.gethostname(), os.getpid(), self.providers
            )
        self._extend(started)
        # After a database outage a new worker may register before the surviving ones beat again.
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
        """Whether this worker may own chunks and make paid calls now, by the monotonic clock."""
        return self._clock.monotonic() < self._lease_ends

    def lapses(self) -> int:
        """Count how often the lease lapsed for lack of a heartbeat.

        A call begun before a lapse may have failed because this worker was cut off. Its failure is
        no evidence about the provider.
        """
        return self._lapses + (not self.has_lease)

    def end_leases(self) -> None:
        """End every lease for good. Work in progress stops before its next paid call."""
        self._leaving = True
        self._lease_ends = 0.0

    async def _leave(self) -> None:
        try:
            async with self._database.transaction() as conn:
                left = await workers.leave(conn, self.worker_id)
                await wake(conn, [WakeUp("chunk", str(chunk_id)) for chunk_id in left])
        except (DatabaseUnavailable, TransactionConflict) as error:
            # Other workers take the chunks over once the database is back.
            log.warning("worker.leave_failed", action="worker.leave_failed", error=str(error))

    @contextmanager
    def at_work(self, chunk_id: int) -> Iterator[None]:
        """Mark the chunk as worked on, from before its claim until after its release.

        The next heartbeat gives back every chunk that this worker owns but does not work on: the
        reply to its claim was lost, or its release failed.
        """
        self._at_work[chunk_id] += 1
        try:
            yield
        finally:
            self._at_work[chunk_id] -= 1
            self._at_work += Counter()  # drops zero counts

    @contextmanager
    def holding(self, chunk_id: int, epoch: int) -> Iterator[LeaseCheck]:
        """Give the lease check of a chunk that was just claimed."""
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
                # Without heartbeats this worker would keep chunks it cannot work on.
                log.exception("worker.no_heartbeat", action="worker.no_heartbeat")
            await self._clock.sleep(min(1.0, self._heartbeat_seconds))

    async def _beat_until_dead(self) -> None:
        locked = False
        # The heartbeat uses the session that holds the lock, so a lost session is noticed.
        async with self._database.session() as session:
            await workers.set_idle_timeout(session, self.dead_after_seconds)
            while True:
                # A worker that tests whether this one is dead may hold the lock for an instant.
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
        # Chunks claimed while the query ran are not in ``held_before``, so they are not revoked.
        active = {key for key, is_active in owned.items() if is_active}
        self._revoked.update((held_before - active) & self._held)
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
                return  # The next owner must find the paid replies. The next heartbeat tries again.
        async with self._database.transaction() as conn:
            given = await give_back(conn, self.worker_id, orphaned)
            await wake(conn, [WakeUp("chunk", str(chunk_id)) for chunk_id in given])
        log.warning("chunk.orphaned", action="chunk.orphaned", chunks=given)

    def _extend(self, since: float) -> None:
        margin = self.dead_after_seconds * 0.25
        if not self._leaving:
            self._lease_ends = since + self.dead_after_seconds - margin

    async def take_over(self) -> list[int]:
        """Make the chunks of dead workers ready and wake them; return their ids."""
        if not self.has_lease or self._clock.monotonic() < self._takeover_grace_until:
            return []
        async with self._database.transaction() as conn:
            dead = await workers.take_over_dead(conn, self.dead_after_seconds)
            taken_over = [chunk_id for ids in dead.values() for chunk_id in ids]
            await wake(
                conn, [WakeUp("chunk", str(chunk_id), JobPriority.HIGH) for chunk_id in taken_over]
            )
        for worker_id, ids in dead.items():
            log.warning(
                "worker.taken_over", action="worker.taken_over", worker=worker_id, chunks=len(ids)
            )
        return taken_over
