"""The database's clock, which all workers share, as this process knows it.

Promise: ``now`` is the server's time within half a round trip, independent of the machine's wall
clock. Between two readings the machine's monotonic clock counts the seconds.

Limits: when the server's clock is set, other processes notice at their next reading, within
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
# Assumed drift of a monotonic clock: hardware is within 100 parts in a million.
DRIFT = 0.0002
_CLOCK = sa.text("SELECT clock_timestamp()")


class DatabaseClock:
    """The server's time, counted on between readings by ``base``."""

    def __init__(self, base: Clock | None = None) -> None:
        self._base = base or SystemClock()
        # The server's time, the monotonic time of its reading, and the error, both in seconds.
        self._reading: tuple[datetime, float, float] | None = None

    def now(self) -> datetime:
        """Return the server's time; before the first reading, the machine's."""
        if self._reading is None:
            return self._base.now()
        at, read_at, _ = self._reading
        return at + timedelta(seconds=self._base.monotonic() - read_at)

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin; never runs backwards."""
        return self._base.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        await self._base.sleep(seconds)

    async def sync(self, conn: Connection) -> None:
        """Read the server's clock. A slow reading does not replace a more exact earlier one."""
        sent = self._base.monotonic()
        at: datetime = (await conn.execute(_CLOCK)).scalar_one()
        answered = self._base.monotonic()
        error = (answered - sent) / 2
        read_at = sent + error
        if self._reading is not None:
            last_at, last_read_at, last_error = self._reading
            elapsed = read_at - last_read_at
            difference = abs((at - last_at).total_seconds() - elapsed)
            if difference <= error and last_error + elapsed * DRIFT < error:
                return
        self._reading = (at, read_at, error)

    @asynccontextmanager
    async def following(self, database: Database) -> AsyncIterator["DatabaseClock"]:
        """Read the clock now, and every ``SYNC_SECONDS`` until the block ends."""
        async with database.statement() as conn:
            await conn.execute(_CLOCK)  # the first statement also pays for connecting
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
                continue  # others report it; the monotonic clock counts on


def time_override(clock: Clock) -> datetime | None:
    """Return the time to pass to a statement: None (the server's own) unless a test sets a clock.

    A machine's clock never decides anything that workers share.
    """
    if isinstance(clock, DatabaseClock) or type(clock) is SystemClock:
        return None
    return clock.now()
