"""Plan statements over a whole run with hash joins only, because statistics lag behind a new run.

Until ANALYZE runs, which is when a tenth of a table has changed, PostgreSQL underestimates a new
run. In a young database and in one with years of runs alike it expects a few rows. It may then
choose nested loops, or merge by a column that all rows share: each row of the run with each other,
for minutes or hours.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import CursorResult, TextClause, text
from sqlalchemy.ext.asyncio import AsyncResult

from serpline.store.database import Connection

# With underestimated rows the server hashes the larger side. In the usual 4 MB a hash of 600,000
# rows is written to disk and read again a dozen times.
_MEMORY = "64MB"
_ONLY_HASH = text(
    "SELECT set_config('enable_nestloop', 'off', true),"
    f" set_config('enable_mergejoin', 'off', true), set_config('work_mem', '{_MEMORY}', true)"
)
ROWS_AT_ONCE = 1_000
# NULL restores the session's own setting.
_AS_BEFORE = text(
    "SELECT set_config(name, NULL, true)"
    " FROM unnest(ARRAY['enable_nestloop', 'enable_mergejoin', 'work_mem']) AS t(name)"
)


async def execute_hash_joined(
    conn: Connection, statement: TextClause, values: Mapping[str, Any]
) -> CursorResult[Any]:
    """Execute a statement with hash joins only: its work grows linearly with the run.

    The statement reads a run or a lane. Its joins must be equalities (an OR can only loop), and
    each table needs its run as a value: a table that gets the run by a join is read with all its
    runs.
    """
    async with hash_joins_only(conn):
        return await conn.execute(statement, values)


@asynccontextmanager
async def stream_hash_joined(
    conn: Connection, statement: TextClause, values: Mapping[str, Any]
) -> AsyncGenerator[AsyncResult[Any], None]:
    """Stream the rows of such a statement, ``ROWS_AT_ONCE`` from the server at a time."""
    async with hash_joins_only(conn):
        options = {"yield_per": ROWS_AT_ONCE}
        rows = await conn.stream(statement, values, execution_options=options)
        try:
            yield rows
        finally:
            await rows.close()


@asynccontextmanager
async def hash_joins_only(conn: Connection) -> AsyncGenerator[None, None]:
    """Have the server use only hash joins, in memory, for the statements in the block."""
    await conn.execute(_ONLY_HASH)
    yield
    # Not needed after an exception, which rolls the transaction back.
    await conn.execute(_AS_BEFORE)


@asynccontextmanager
async def lookups_by_key(conn: Connection) -> AsyncGenerator[None, None]:
    """Have the server look rows up by their keys for the statements in the block, which read a few.

    It expects a few rows in a new run too. With memoize it would rather keep all of them and
    compare each with each.
    """
    await conn.execute(text("SELECT set_config('enable_memoize', 'off', true)"))
    yield
    await conn.execute(text("SELECT set_config('enable_memoize', NULL, true)"))
