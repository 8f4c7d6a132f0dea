"""How statements over a whole run are planned: without trust in what the server has counted.

PostgreSQL counts a table again when a tenth of it has changed. Until then it takes what a new run
has for a few rows, in a young database and in one with years of runs alike, and a few rows may be
joined in any way: by nested loops, or merged by a column that all of them share, each row of the
run with each other, for minutes or hours.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import CursorResult, TextClause, text
from sqlalchemy.ext.asyncio import AsyncResult

from serpline.store.database import Connection

# Of a run taken for a few rows, what is hashed is the larger side, and in the usual 4 MB a hash of
# 600,000 rows is written to disk and read again a dozen times.
_MEMORY = "64MB"
_ONLY_HASH = text(
    "SELECT set_config('enable_nestloop', 'off', true),"
    f" set_config('enable_mergejoin', 'off', true), set_config('work_mem', '{_MEMORY}', true)"
)
ROWS_AT_ONCE = 1_000
# NULL is the session's own setting.
_AS_BEFORE = text(
    "SELECT set_config(name, NULL, true)"
    " FROM unnest(ARRAY['enable_nestloop', 'enable_mergejoin', 'work_mem']) AS t(name)"
)


async def execute_hash_joined(
    conn: Connection, statement: TextClause, values: Mapping[str, Any]
) -> CursorResult[Any]:
    """Execute a statement whose joins are made by hash: its work grows with the run, not faster.

    It reads a run or a lane, joined by equality (an OR can only loop), and each table is told by a
    value which run's rows are meant: of one that learns it by the join, the rows of all runs would
    be read.
    """
    async with hash_joins_only(conn):
        return await conn.execute(statement, values)


@asynccontextmanager
async def stream_hash_joined(
    conn: Connection, statement: TextClause, values: Mapping[str, Any]
) -> AsyncGenerator[AsyncResult[Any], None]:
    """The rows of such a statement as they are asked for, ``ROWS_AT_ONCE`` from the server."""
    async with hash_joins_only(conn):
        options = {"yield_per": ROWS_AT_ONCE}
        rows = await conn.stream(statement, values, execution_options=options)
        try:
            yield rows
        finally:
            await rows.close()


@asynccontextmanager
async def hash_joins_only(conn: Connection) -> AsyncGenerator[None, None]:
    """Have the server join by hash alone, and in memory, what is executed within."""
    await conn.execute(_ONLY_HASH)
    yield
    # After an exception there is nothing to set back: it undoes the transaction.
    await conn.execute(_AS_BEFORE)
