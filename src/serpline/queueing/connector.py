"""Procrastinate's connector: statements on the process's pool, and one session that listens.

The library's own connector keeps a second pool, and each of its statements is a transaction of
three round trips. Here a statement takes a pooled connection for one round trip. A listener that
loses its session opens another and makes the worker fetch what it missed. If it cannot open one, it
raises ``DatabaseUnavailable``, which ends its worker.

The session that holds the worker's lock does not listen. Otherwise notifications would fill a
frozen worker's socket, its session would not count as idle, and the server would never end it.
"""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from typing import Any, Final

from procrastinate.connector import LISTEN_TIMEOUT, BaseAsyncConnector, Notify, Pool
from procrastinate.exceptions import NoResult

from serpline.store.database import Database, DatabaseUnavailable
from serpline.store.queue.library import execute, listening

_INSERTED: Final = '{"type": "job_inserted", "job_id": 0}'


class PoolConnector(BaseAsyncConnector):
    """Statements on the pool of ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._fetching = asyncio.Lock()

    async def open_async(self, pool: Pool | None = None) -> None:
        """Do nothing: the pool is already open."""

    async def close_async(self) -> None:
        """Do nothing: the process owns the pool."""

    async def execute_query_async(self, query: str, **arguments: Any) -> None:
        """Execute a statement without a result."""
        await execute(self._database, query, arguments)

    async def execute_query_one_async(self, query: str, **arguments: Any) -> dict[str, Any]:
        """Return the first row. Raises ``NoResult`` if there is none."""
        async with self._fetching:
            rows = await execute(self._database, query, arguments)
        if not rows:
            raise NoResult
        return rows[0]

    async def execute_query_all_async(self, query: str, **arguments: Any) -> list[dict[str, Any]]:
        """Return all rows."""
        return await execute(self._database, query, arguments)

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        """Pass on every wake-up until cancelled. ``channels`` is the one channel of our queue."""
        (channel,) = channels
        while True:
            listens = False
            try:
                async with aclosing(listening(self._database, channel, LISTEN_TIMEOUT)) as wakeups:
                    async for _ in wakeups:
                        listens = True
                        await self._pass_on(on_notification, channel)
            except DatabaseUnavailable:
                if not listens:
                    raise

    async def _pass_on(self, on_notification: Notify, channel: str) -> None:
        await on_notification(channel=channel, payload=_INSERTED)
        if self._fetching.locked():
            # The worker drops notifications that arrive during a fetch: repeat this one after it.
            async with self._fetching:
                pass
            await on_notification(channel=channel, payload=_INSERTED)
