"""How fast and how many at once: one pace per provider, shared by all workers.

Promise: all processes together start at most ``rate_per_second`` calls and have at most
``concurrency`` under way. A 429 halves the pace for everybody and no slot is given before its
``Retry-After`` has passed. Slots are given to whole groups of waiting calls (``admission``), never
further ahead than ``HORIZON_SECONDS``; the database's clock says when.

Limits: a process that dies keeps its share of the concurrency until its lease (``shares``) ends.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from serpline.core.clock import Clock
from serpline.core.ids import new_id
from serpline.domain.errors import CallRefused
from serpline.domain.retry import cap_retry_after
from serpline.robustness.policies import ProviderPolicy
from serpline.robustness.shares import Share
from serpline.store.calls import limits as store
from serpline.store.clock import given_time
from serpline.store.database import Database

HORIZON_SECONDS = 1.0
WAIT_SECONDS_MAX = 30.0
PAUSE_SECONDS_DEFAULT = 1.0


class Limited(CallRefused):
    """Too fast for now; ``until`` is when the provider may be called again."""


class Limiter:
    """The limiter of this process; all of a database's limiters act as one."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._holder = new_id()
        self._shares: dict[str, Share] = {}

    @asynccontextmanager
    async def place(self, policy: ProviderPolicy) -> AsyncIterator[None]:
        """Wait for one of the concurrent calls, if they are limited; keep it during the block."""
        if policy.concurrency is None:
            yield
            return
        share = self._shares.setdefault(
            policy.provider, Share(self._db, self._holder, policy.provider)
        )
        await share.acquire(policy.concurrency)
        try:
            yield
        finally:
            share.release()

    async def penalise(
        self, policy: ProviderPolicy, started_at: datetime, retry_after_seconds: float | None
    ) -> None:
        """A call that started at ``started_at`` was answered 429: slow down, for everybody."""
        seconds = cap_retry_after(retry_after_seconds) or PAUSE_SECONDS_DEFAULT
        rate, at = policy.rate_per_second, given_time(self._clock)
        async with self._db.statement() as conn:
            await store.penalise(conn, policy.provider, rate, started_at, seconds, at)

    async def pause(self, policy: ProviderPolicy, seconds: float, reason: str) -> None:
        """Nobody calls the provider for so many seconds (its quota is used up)."""
        async with self._db.statement() as conn:
            await store.pause(conn, policy.provider, seconds, reason, given_time(self._clock))

    async def close(self) -> None:
        """Give back this process's share of the concurrency."""
        for share in self._shares.values():
            await share.close()
