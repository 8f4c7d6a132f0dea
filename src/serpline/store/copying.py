"""COPY in PostgreSQL's text format: one line per row; tabs and line ends in values are escaped."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import psycopg
from psycopg import sql

from serpline.store.database import Connection, DatabaseUnavailable
from serpline.store.database_url import one_line


async def driver(conn: Connection) -> psycopg.AsyncConnection[Any]:
    """Return the driver's own connection, which supports COPY, inside ``conn``'s transaction."""
    found = (await conn.get_raw_connection()).driver_connection
    assert isinstance(found, psycopg.AsyncConnection)
    return found


async def copy_out(
    conn: Connection,
    source: sql.Composable,
    block_bytes: int,
    values: Mapping[str, Any] | None = None,
) -> AsyncGenerator[bytes, None]:
    """Yield the lines of ``source`` (a table, or a query in parentheses) in blocks.

    A block has whole lines and about ``block_bytes``. Raises ``DatabaseUnavailable`` as a
    transaction does.
    """
    statement = sql.SQL("COPY {} TO STDOUT").format(source)
    lines = bytearray()
    try:
        async with (
            (await driver(conn)).cursor() as cursor,
            cursor.copy(statement, values) as rows,
        ):
            async for row in rows:
                lines += row
                if len(lines) >= block_bytes:
                    yield bytes(lines)
                    lines.clear()
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(one_line(str(error))) from error
    yield bytes(lines)
