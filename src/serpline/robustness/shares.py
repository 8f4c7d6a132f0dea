"""One process's part of a provider's concurrency: a lease in PostgreSQL, handed out locally.

Promise: the calls under way here never exceed what was leased, and all leases of living processes
together never exceed the provider's concurrency. A process that wants more while others do too
falls back to an even share as its calls end. A call that finds a free place costs no database call.

Limits: the lease of a dead process lasts ``LEASE_SECONDS``. One that cannot be renewed, because
the database is away, is still used: the calls under way cannot be unmade, and without a database
the ledger lets no new one start.
"""

import asyncio
from collections import deque
from contextlib import suppress
from uuid import UUID

from serpline.store import limits as store
from serpline.store.database import Database, DatabaseUnavailable, TransactionConflict

LEASE_SECONDS = 15.0
RENEW_SECONDS = 2.0
_ASK_AGAIN_SECONDS = 0.2


class Share:
    """Places for concurrent calls; first come, first served within the process."""

    def __init__(self, db: Database, holder: UUID, provider: str) -> None:
        self._db = db
        self._holder = holder
        self._provider = provider
        self._concurrency = 1
        self._leased = 0
        self._in_use = 0
        self._peak = 0
        self._queued = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._wish = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def acquire(self, concurrency: int) -> None:
        """Wait for a place; ``concurrency`` is the provider's, for all processes together."""
        self._concurrency = concurrency
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())
        if self._in_use < self._leased and not self._waiting:
            self._take()
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._queued += 1
        self._peak = max(self._peak, self._in_use + self._queued)
        if self._leased < concurrency:
            self._wish.set()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self.release()
            raise
        finally:
            self._queued -= 1

    def release(self) -> None:
        """Give a place back; whoever waits longest in this process gets it."""
        self._in_use -= 1
        self._hand_out()

    async def close(self) -> None:
        """Stop renewing and give the lease back; calls still under way lose their place."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        self._in_use = self._peak = self._queued = 0
        await self._renew()

    def _take(self) -> None:
        self._in_use += 1
        self._peak = max(self._peak, self._in_use)

    def _hand_out(self) -> None:
        while self._waiting and self._in_use < self._leased:
            place = self._waiting.popleft()
            if not place.done():
                self._take()
                place.set_result(None)

    async def _keep(self) -> None:
        """Renew at a wish for more and every ``RENEW_SECONDS``, until nobody uses anything."""
        while True:
            await self._renew()
            self._hand_out()
            if self._leased == 0 and self._queued == 0:
                return
            if self._leased < min(self._in_use + self._queued, self._concurrency):
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
                continue
            self._wish.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._wish.wait()

    async def _renew(self) -> None:
        """Ask for the most that was wanted since the last time, so that a lull costs nothing.

        Until the answer is there nothing is handed out: it may be less than before.
        """
        wanted = self._in_use + self._queued
        wish = store.LeaseWish(
            self._provider,
            self._holder,
            wanted=min(max(self._peak, wanted), self._concurrency),
            in_use=self._in_use,
            concurrency=self._concurrency,
        )
        self._peak = wanted
        before, self._leased = self._leased, 0
        try:
            async with self._db.transaction() as conn:
                before = await store.lease(conn, wish, LEASE_SECONDS)
        except (DatabaseUnavailable, TransactionConflict):
            pass
        finally:
            self._leased = before
