"""Rate and concurrency limits, one of each per provider, shared by all workers.

Promise: all processes together start at most ``rate_per_second`` calls and have at most
``concurrency`` in flight. A 429 halves the rate for all workers, and no slot comes before its
``Retry-After`` has passed. ``ledger`` reserves slots for whole groups of calls, at most
``HORIZON_SECONDS`` ahead, by the database's clock.

Limits: a dead process keeps its part of the concurrency for ``LEASE_SECONDS``.
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
# The reason of a pause until a quota renews.
QUOTA_USED_UP = "its quota is used up"
LEASE_SECONDS = 15.0
RENEW_SECONDS = 2.0


class Limited(CallRefused):
    """The rate is used up. ``until`` is when the provider may be called again."""


class Limiter:
    """The limiter of this process. All limiters of one database act as one."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._holder = new_id()
        self._leases: dict[str, ConcurrencyLease] = {}

    @asynccontextmanager
    async def concurrency_slot(self, policy: ProviderPolicy) -> AsyncIterator[None]:
        """Hold a concurrency slot during the block. Waits for one if concurrency is limited."""
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
        """Slow all workers down after a 429 to a call that started at ``started_at``."""
        seconds = cap_retry_after(retry_after_seconds) or PAUSE_SECONDS_DEFAULT
        rate, at = policy.rate_per_second, time_override(self._clock)
        async with self._db.statement() as conn:
            await store.penalise(conn, policy.provider, rate, started_at, seconds, at)

    async def pause(self, policy: ProviderPolicy, seconds: float, reason: str) -> None:
        """Stop all workers' calls to the provider for ``seconds``, e.g. for a used-up quota."""
        async with self._db.statement() as conn:
            await store.pause(conn, policy.provider, seconds, reason, time_override(self._clock))

    async def close(self) -> None:
        """Give back this process's part of the concurrency."""
        for lease in self._leases.values():
            await lease.close()


class ConcurrencyLease:
    """One process's part of a provider's concurrency, granted first come, first served.

    The calls in flight here never exceed the leased number. When several processes want more than
    there is, each falls back to an even share as its calls end. A call costs no database call,
    whether it finds a free slot or waits: the process asks for more once, and renews its lease
    every ``RENEW_SECONDS`` anyway, which also brings it the slots that others gave up.

    The lease stays in use while the database is unavailable. Calls in flight cannot be undone, and
    the ledger admits no new ones.
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
        """Wait for a slot. ``concurrency`` is the provider's, for all processes together."""
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
        """Give a slot back to the call that has waited longest in this process."""
        self._in_use -= 1
        self._grant_waiting()

    async def close(self) -> None:
        """Stop renewing and give the lease back. Calls still in flight lose their slots."""
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
        """Renew on demand and every ``RENEW_SECONDS``, until no call uses or wants a slot."""
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
        """Request the peak demand since the last renewal, so that a short lull costs no slots.

        No slot is granted until the answer comes, because it may be lower than before.
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
