"""How fast and how many at once: one pace per provider, shared by all workers.

Promise: all processes together start at most ``rate_per_second`` calls and have at most
``concurrency`` under way. A 429 halves the pace for everybody and no turn is given before its
``Retry-After`` has passed. Turns are given to whole groups of waiting calls (``admission``), never
further ahead than ``HORIZON_SECONDS``.

Limits: a process that dies keeps its share of the concurrency until its lease (``shares``) ends.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from serpline.core.clock import Clock
from serpline.core.ids import new_id
from serpline.domain.errors import CallRefused
from serpline.domain.retry import cap_retry_after
from serpline.robustness import rates
from serpline.robustness.policies import ProviderPolicy
from serpline.robustness.rates import Pace
from serpline.robustness.shares import Share
from serpline.store import limits as store
from serpline.store.database import Connection, Database

HORIZON_SECONDS = 1.0
WAIT_SECONDS_MAX = 30.0
PAUSE_SECONDS_DEFAULT = 1.0
_PACE = tuple(field.name for field in fields(Pace))


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
        """Wait for one of the concurrent calls, and keep it during the block."""
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
        async with self._db.transaction() as conn:
            pace = await _pace(conn, policy.provider)
            now = self._clock.now()
            slower = rates.penalise(pace, policy.rate_per_second, now, started_at, seconds)
            await store.save_rate(conn, policy.provider, asdict(slower))

    async def pause(self, policy: ProviderPolicy, until: datetime, reason: str) -> None:
        """Nobody calls the provider before ``until`` (its quota is used up)."""
        async with self._db.transaction() as conn:
            pace = rates.pause(await _pace(conn, policy.provider), until, reason)
            await store.save_rate(conn, policy.provider, asdict(pace))

    async def close(self) -> None:
        """Give back this process's share of the concurrency."""
        for share in self._shares.values():
            await share.close()


def turns(
    pace: Pace, policy: ProviderPolicy, now: datetime, count: int
) -> tuple[Pace, list[datetime | Limited]]:
    """Turns for ``count`` waiting calls; those beyond the horizon are told when to ask again.

    That is the time when a turn comes within half the horizon.
    """
    after, given = rates.reserve(pace, policy.rate_per_second, now, count, HORIZON_SECONDS)
    paused = after.paused_until is not None and after.paused_until > now
    reason = after.pause_reason if paused and after.pause_reason else "its rate is used up"
    first = after.next_slot_at or now
    gap = 1 / rates.rate_now(after, policy.rate_per_second, now)
    horizon = timedelta(seconds=0 if paused else HORIZON_SECONDS / 2)
    later = [
        Limited(
            f"{policy.provider}: {reason}", until=first + timedelta(seconds=number * gap) - horizon
        )
        for number in range(count - len(given))
    ]
    return after, [*given, *later]


def pace_of(row: Mapping[str, Any]) -> Pace:
    """What the provider's row remembers of its pace."""
    return Pace(**{column: row[column] for column in _PACE})


async def _pace(conn: Connection, provider: str) -> Pace:
    return pace_of((await store.lock_rates(conn, [provider]))[provider])
