"""Database access for the job queue's library: statements on our pool, and notifications."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import text

from serpline.store.database import Database, DatabaseUnavailable
from serpline.store.database_url import one_line


async def execute(
    database: Database, query: str, arguments: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the rows of ``query`` by column name. Its parameters are written ``%(name)s``.

    Raises as ``Database.statement`` does.
    """
    values = {k: Jsonb(v) if isinstance(v, dict) else v for k, v in arguments.items()}
    async with database.statement() as conn:
        found = await conn.exec_driver_sql(query, values)
        return [dict(row) for row in found.mappings()] if found.returns_rows else []


async def listening(
    database: Database, channel: str, check_seconds: float
) -> AsyncGenerator[None, None]:
    """Yield once the session listens, and then after one or more notifications.

    The session is checked after ``check_seconds`` of silence. Raises ``DatabaseUnavailable`` when
    it is lost. Notifications sent until the next LISTEN are lost too.
    """
    async with database.session() as session:
        await session.execute(text(f'LISTEN "{channel}"'))
        driver = (await session.get_raw_connection()).driver_connection
        assert driver is not None
        yield
        while True:
            try:
                # Read to the end: an unfinished generator keeps the connection's lock.
                notes = [n async for n in driver.notifies(timeout=check_seconds, stop_after=1)]
            except psycopg.OperationalError as error:
                raise DatabaseUnavailable(one_line(str(error))) from error
            if notes:
                yield
            else:
                await session.execute(text("SELECT 1"))
