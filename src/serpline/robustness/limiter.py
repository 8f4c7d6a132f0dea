"""How fast and how many at once: one pace per provider, shared by all workers.

Promise: all processes together start at most ``rate_per_second`` calls and have at most
``concurrency`` under way. A 429 halves the pace for everybody and no slot is given before its
``Retry-After`` has passed. Slots are given to whole groups of waiting calls (``ledger``), never
further ahead than ``HORIZON_SECONDS``; the database's clock says when.

Limits: the lease of a dead process on part of the concurrency lasts ``LEASE_SECONDS``.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from uuid import UUID

from serpline.core.clock import Clock
from serpline.core.ids import new_id
from serpline.domain.errors import CallRefused
from serpline.domain.retry import cap_retry_after
from serpline.robustness.policies import ProviderPolicy
from serpline.store.calls import limits as store
from serpline.store.clock import time_override
from serpline.store.database import Database, DatabaseUnavailable, TransactionConflict

HORIZON_SECONDS = 1.0
WAIT_SECONDS_MAX = 30.0
PAUSE_SECONDS_DEFAULT = 1.0
LEASE_SECONDS = 15.0
RENEW_SECONDS = 2.0


class Limited(CallRefused):
    """Too fast for now; ``until`` is when the provider may be called again."""


class Limiter:
    """The limiter of this process; all of a database's limiters act as one."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._holder = new_id()
        self._leases: dict[str, ConcurrencyLease] = {}

    @asynccontextmanager
    async def concurrency_slot(self, policy: ProviderPolicy) -> AsyncIterator[None]:
        """Wait for one of the concurrent calls, if they are limited; keep it during the block."""
        if policy.concurrency is None:
            yield
            return
        lease = self._leases.setdefault(
            policy.provider, ConcurrencyLease(self._db, self._holder, policy.provider)
        )
        await lease.acquire(policy.concurrency)
        try:
            yield
        finally:
            lease.release()

    async def penalise(
        self, policy: ProviderPolicy, started_at: datetime, retry_after_seconds: float | None
    ) -> None:
        """A call that started at ``started_at`` was answered 429: slow down, for everybody."""
        seconds = cap_retry_after(retry_after_seconds) or PAUSE_SECONDS_DEFAULT
        rate, at = policy.rate_per_second, time_override(self._clock)
        async with self._db.statement() as conn:
            await store.penalise(conn, policy.provider, rate, started_at, seconds, at)

    async def pause(self, policy: ProviderPolicy, seconds: float, reason: str) -> None:
        """Nobody calls the provider for so many seconds (its quota is used up)."""
        async with self._db.statement() as conn:
            await store.pause(conn, policy.provider, seconds, reason, time_override(self._clock))

    async def close(self) -> None:
        """Give back this process's share of the concurrency."""
        for lease in self._leases.values():
            await lease.close()


class ConcurrencyLease:
    """One process's part of a provider's concurrency, handed out first come, first served.

    The calls under way here never exceed what was leased. A process that wants more while others do
    too falls back to an even share as its calls end. Neither a call that finds a free place nor one
    that waits costs a database call: a process says once that it wants more, and renews its lease
    every ``RENEW_SECONDS`` anyhow, which is when it learns of what others gave up.

    A lease that cannot be renewed, because the database is away, is still used: the calls under way
    cannot be unmade, and without a database the ledger admits no new one.
    """

    def __init__(self, db: Database, holder: UUID, provider: str) -> None:
        self._db = db
        self._holder = holder
        self._provider = provider
        self._concurrency = 1
        self._granted = 0
        self._in_use = 0
        self._peak = 0
        self._queued = 0
        self._requested = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._demand_grew = asyncio.Event()
        self._renewer: asyncio.Task[None] | None = None

    async def acquire(self, concurrency: int) -> None:
        """Wait for a place; ``concurrency`` is the provider's, for all processes together."""
        self._concurrency = concurrency
        if self._renewer is None or self._renewer.done():
            self._requested = 0
            self._renewer = asyncio.create_task(self._renew_while_used())
        if self._in_use < self._granted and not self._waiting:
            self._take()
            return
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(slot)
        self._queued += 1
        self._peak = max(self._peak, self._in_use + self._queued)
        if self._requested < self._demand():
            self._demand_grew.set()
        try:
            await slot
        except asyncio.CancelledError:
            if not slot.cancelled():
                self.release()
            raise
        finally:
            self._queued -= 1

    def release(self) -> None:
        """Give a place back; whoever waits longest in this process gets it."""
        self._in_use -= 1
        self._grant_waiting()

    async def close(self) -> None:
        """Stop renewing and give the lease back; calls still under way lose their slot."""
        if self._renewer is not None:
            self._renewer.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewer
        self._in_use = self._peak = self._queued = 0
        await self._renew()

    def _demand(self) -> int:
        return min(max(self._peak, self._in_use + self._queued), self._concurrency)

    def _take(self) -> None:
        self._in_use += 1
        self._peak = max(self._peak, self._in_use)

    def _grant_waiting(self) -> None:
        while self._waiting and self._in_use < self._granted:
            slot = self._waiting.popleft()
            if not slot.done():
                self._take()
                slot.set_result(None)

    async def _renew_while_used(self) -> None:
        """Renew when more is wanted and every ``RENEW_SECONDS``, until nobody uses anything."""
        while True:
            self._demand_grew.clear()
            await self._renew()
            self._grant_waiting()
            if self._in_use == 0 and self._queued == 0 and self._requested == 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._demand_grew.wait()

    async def _renew(self) -> None:
        """Ask for the most that was wanted since the last time, so that a lull costs nothing.

        Until the answer is there nothing is handed out: it may be less than before.
        """
        self._requested = self._demand()
        request = store.LeaseRequest(
            self._provider, self._holder, self._requested, self._in_use, self._concurrency
        )
        self._peak = self._in_use + self._queued
        before, self._granted = self._granted, 0
        try:
            async with self._db.statement() as conn:
                before = await store.lease(conn, request, LEASE_SECONDS)
        except (DatabaseUnavailable, TransactionConflict):
            pass
        finally:
            self._granted = before
