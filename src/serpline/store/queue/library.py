"""What the job queue's library needs of the database: statements on our own pool, notifications."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import text

from serpline.store.database import Database, DatabaseUnavailable, one_line


async def execute(
    database: Database, query: str, arguments: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The rows of ``query`` by column name; its parameters are written ``%(name)s``.

    Raises as ``Database.statement`` does.
    """
    values = {k: Jsonb(v) if isinstance(v, dict) else v for k, v in arguments.items()}
    async with database.statement() as conn:
        found = await conn.exec_driver_sql(query, values)
        return [dict(row) for row in found.mappings()] if found.returns_rows else []


async def listening(
    database: Database, channel: str, check_seconds: float
) -> AsyncGenerator[None, None]:
    """Yield as soon as the server will notify, and then after each notification or several.

    The session is tried after ``check_seconds`` of silence. Raises ``DatabaseUnavailable`` when it
    is lost: what is sent until somebody listens again reaches nobody.
    """
    async with database.session() as session:
        await session.execute(text(f'LISTEN "{channel}"'))
        driver = (await session.get_raw_connection()).driver_connection
        assert driver is not None
        yield
        while True:
            try:
                # Read to its end: a generator that is left early keeps the connection's lock.
                notes = [n async for n in driver.notifies(timeout=check_seconds, stop_after=1)]
            except psycopg.OperationalError as error:
                raise DatabaseUnavailable(one_line(str(error))) from error
            if notes:
                yield
            else:
                await session.execute(text("SELECT 1"))
