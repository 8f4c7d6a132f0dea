"""The time of one database, set by a test, and clocks that follow it.

A schema that lies before ``pg_catalog`` in the search path has its own ``now()`` and relatives, and
they return what a table says. So the product's statements run unchanged, at the test's time.

Limits: sessions that were opened before ``install`` keep the server's time, and so does
``CURRENT_TIMESTAMP``, which no statement of ours uses.
"""

import asyncio
from datetime import datetime, timedelta

import sqlalchemy as sa

from serpline.core.clock import SystemClock
from serpline.store.clock import DatabaseClock
from serpline.store.database import Database

_FUNCTIONS = ("now", "clock_timestamp", "statement_timestamp", "transaction_timestamp")
_INSTALL = (
    "CREATE SCHEMA virtual",
    "CREATE TABLE virtual.clock AS SELECT pg_catalog.now() AS at",
    *(
        f"CREATE FUNCTION virtual.{name}() RETURNS timestamptz LANGUAGE sql STABLE"
        " AS 'SELECT at FROM virtual.clock'"
        for name in _FUNCTIONS
    ),
    """
    DO $$ DECLARE one record; BEGIN
        FOR one IN SELECT table_name, column_name FROM information_schema.columns
            WHERE table_schema = 'public' AND column_default = 'now()' LOOP
            EXECUTE format('ALTER TABLE %I ALTER %I SET DEFAULT virtual.now()',
                one.table_name, one.column_name);
        END LOOP;
        EXECUTE format('ALTER DATABASE %I SET search_path = virtual, pg_catalog, public',
            current_database());
    END $$
    """,
)


async def install(url: str, at: datetime) -> None:
    """Give new sessions of a database the time ``at``, until it is set again."""
    database = await Database.connect(url)
    try:
        async with database.transaction() as conn:
            for statement in _INSTALL:
                await conn.execute(sa.text(statement))
        await set_time(database, at)
    finally:
        await database.close()


async def set_time(database: Database, at: datetime) -> None:
    """Set the time of every session."""
    async with database.statement() as conn:
        await conn.execute(sa.text("UPDATE virtual.clock SET at = :at"), {"at": at})


class VirtualClock(SystemClock):
    """A clock that stands still until it is set. A sleeper wakes when the time has come."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The instant that was set."""
        return self.at

    def monotonic(self) -> float:
        """The same instant, in seconds."""
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        """Sleep until the clock is set to the end of this time."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.at + timedelta(seconds=seconds), woken))
        await woken

    @property
    def next_waking(self) -> datetime | None:
        """When the first sleeper wakes."""
        self._sleepers = [one for one in self._sleepers if not one[1].done()]
        return min((at for at, _ in self._sleepers), default=None)

    def set(self, at: datetime) -> None:
        """Set the clock, and wake who has slept long enough."""
        self.at = at
        for until, woken in self._sleepers:
            if until <= at and not woken.done():
                woken.set_result(None)


class AdvancingClock(VirtualClock):
    """The clock of a process that works alone: time passes only while it sleeps.

    ``of_database``: the clock that the process reads; it follows the database's.
    """

    def __init__(self, at: datetime, database: Database, of_database: DatabaseClock) -> None:
        super().__init__(at)
        self._database = database
        self._of_database = of_database
        self._advancing = asyncio.Lock()

    async def sleep(self, seconds: float) -> None:
        """Let the time of the database, and of this clock, pass at once."""
        until = self.at + timedelta(seconds=seconds)
        async with self._advancing:
            passed, self.at = until - self.at, max(self.at, until)
            if passed > timedelta(0):
                async with self._database.statement() as conn:
                    await conn.execute(
                        sa.text("UPDATE virtual.clock SET at = at + :passed"), {"passed": passed}
                    )
                    await self._of_database.sync(conn)
        await asyncio.sleep(0)

    async def follow(self, at: datetime) -> None:
        """Set this clock, and read the database's, which may be ahead or behind."""
        self.set(at)
        async with self._database.statement() as conn:
            await self._of_database.sync(conn)
