"""How fast and how many at once: one pace per provider, shared by all workers.

Promise: all processes together start at most ``rate_per_second`` calls and have at most
``concurrency`` under way. A 429 halves the pace for everybody and no slot is given before its
``Retry-After`` has passed. Slots are reserved for whole groups of waiting calls, never further
ahead than ``HORIZON_SECONDS``.

Limits: a process that dies keeps its share of the concurrency until its lease (``shares``) ends.
Slots given before a 429 was recorded are checked once more by the ledger's transaction, just
before the call.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from datetime import datetime, timedelta

from serpline.core.clock import Clock
from serpline.core.ids import new_id
from serpline.domain.errors import CallRefused
from serpline.domain.retry import cap_retry_after
from serpline.robustness import rates
from serpline.robustness.groups import GroupCommitter
from serpline.robustness.policies import ProviderPolicy
from serpline.robustness.rates import Pace
from serpline.robustness.shares import Share
from serpline.store import limits as store
from serpline.store.database import Connection, Database

HORIZON_SECONDS = 1.0
WAIT_SECONDS_MAX = 30.0
PAUSE_SECONDS_DEFAULT = 1.0
_GROUP_MAX = 500
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
        self._slots: GroupCommitter[ProviderPolicy, datetime | Limited] = GroupCommitter(
            self._reserve, delay_seconds=0, size_max=_GROUP_MAX
        )

    @asynccontextmanager
    async def slot(self, policy: ProviderPolicy) -> AsyncIterator[None]:
        """Wait for a turn, and keep one of the concurrent calls during the block.

        Raises ``Limited`` when the turn would come later than ``WAIT_SECONDS_MAX`` from now.
        """
        share = self._shares.setdefault(
            policy.provider, Share(self._db, self._holder, policy.provider)
        )
        await share.acquire(policy.concurrency)
        try:
            await self._turn(policy)
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

    async def _turn(self, policy: ProviderPolicy) -> None:
        give_up_at = self._clock.now() + timedelta(seconds=WAIT_SECONDS_MAX)
        while True:
            answer = await self._slots.put(policy)
            at = answer if isinstance(answer, datetime) else answer.until
            now = self._clock.now()
            if at is None or at > give_up_at:
                raise answer if isinstance(answer, Limited) else Limited("no turn", until=at)
            if at > now:
                await self._clock.sleep((at - now).total_seconds())
            if isinstance(answer, datetime):
                return

    async def _reserve(self, policies: Sequence[ProviderPolicy]) -> list[datetime | Limited]:
        """Slots for a group of waiting calls; those beyond the horizon are told when to ask."""
        by_name = {policy.provider: policy for policy in policies}
        given: dict[str, list[datetime | Limited]] = {}
        async with self._db.transaction() as conn:
            rows = await store.lock_rates(conn, list(by_name))
            now = self._clock.now()
            for name, policy in by_name.items():
                count = sum(1 for other in policies if other.provider == name)
                pace = Pace(**{column: rows[name][column] for column in _PACE})
                after, slots = rates.reserve(
                    pace, policy.rate_per_second, now, count, HORIZON_SECONDS
                )
                values = {"next_slot_at": after.next_slot_at}
                await store.save_rate(conn, name, values)
                given[name] = [*slots, *self._later(after, policy, now, count - len(slots))]
        return [given[policy.provider].pop(0) for policy in policies]

    @staticmethod
    def _later(pace: Pace, policy: ProviderPolicy, now: datetime, count: int) -> list[Limited]:
        """When to ask again: each at the time when its slot comes within the horizon."""
        if count == 0:
            return []
        paused = pace.paused_until is not None and pace.paused_until > now
        reason = pace.pause_reason if paused and pace.pause_reason else "its rate is used up"
        first = pace.next_slot_at or now
        gap = 1 / rates.rate_now(pace, policy.rate_per_second, now)
        horizon = timedelta(seconds=0 if paused else HORIZON_SECONDS / 2)
        return [
            Limited(
                f"{policy.provider}: {reason}",
                until=first + timedelta(seconds=number * gap) - horizon,
            )
            for number in range(count)
        ]


async def _pace(conn: Connection, provider: str) -> Pace:
    row = (await store.lock_rates(conn, [provider]))[provider]
    return Pace(**{column: row[column] for column in _PACE})
