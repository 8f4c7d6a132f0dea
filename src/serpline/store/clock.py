"""The database's clock, which all workers share, as seen from here.

Promise: ``now`` is the server's time within half of one round trip, whatever the machine's own wall
clock says or does. Between two looks at the server the machine's monotonic clock counts on.

Limits: when the server's clock is set, other processes learn it at their next look, within
``SYNC_SECONDS``.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import sqlalchemy as sa

from serpline.core.clock import Clock, SystemClock
from serpline.store.database import Connection, Database, DatabaseUnavailable, TransactionConflict

SYNC_SECONDS = 10.0
# How far a monotonic clock may run wrong: hardware is within 100 parts in a million.
DRIFT = 0.0002
_CLOCK = sa.text("SELECT clock_timestamp()")


class DatabaseClock:
    """``base`` counts the seconds; what time it is, the server says."""

    def __init__(self, base: Clock | None = None) -> None:
        self._base = base or SystemClock()
        self._known: tuple[datetime, float, float] | None = None

    def now(self) -> datetime:
        """The server's time; the machine's as long as the server has not been asked."""
        if self._known is None:
            return self._base.now()
        at, counted, _ = self._known
        return at + timedelta(seconds=self._base.monotonic() - counted)

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin; never runs backwards."""
        return self._base.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        await self._base.sleep(seconds)

    async def sync(self, conn: Connection) -> None:
        """Ask the server. An answer that took long says less than a quick one from before."""
        asked = self._base.monotonic()
        at: datetime = (await conn.execute(_CLOCK)).scalar_one()
        answered = self._base.monotonic()
        wrong_by = (answered - asked) / 2
        counted = asked + wrong_by
        if self._known is not None:
            known_at, known_counted, known_wrong_by = self._known
            elapsed = counted - known_counted
            apart = abs((at - known_at).total_seconds() - elapsed)
            if apart <= wrong_by and known_wrong_by + elapsed * DRIFT < wrong_by:
                return
        self._known = (at, counted, wrong_by)

    @asynccontextmanager
    async def following(self, database: Database) -> AsyncIterator["DatabaseClock"]:
        """Ask now, and again every ``SYNC_SECONDS`` until the block ends."""
        async with database.statement() as conn:
            await conn.execute(_CLOCK)  # whoever comes first makes the connection
            await self.sync(conn)
        syncing = asyncio.create_task(self._keep_synced(database))
        try:
            yield self
        finally:
            syncing.cancel()
            await asyncio.gather(syncing, return_exceptions=True)

    async def _keep_synced(self, database: Database) -> None:
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            try:
                async with database.statement() as conn:
                    await self.sync(conn)
            except (DatabaseUnavailable, TransactionConflict):
                continue  # others say so; the monotonic clock counts on


def time_override(clock: Clock) -> datetime | None:
    """What a statement is to take for now: None, its server's own time, unless a test decides.

    No machine's clock ever decides what all workers share.
    """
    if isinstance(clock, DatabaseClock) or type(clock) is SystemClock:
        return None
    return clock.now()
