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

from serpline.store.database import Connection

_ONLY_HASH = text(
    "SELECT set_config('enable_nestloop', :other, true),"
    " set_config('enable_mergejoin', :other, true)"
)


async def over_run(
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
async def hash_joins_only(conn: Connection) -> AsyncGenerator[None, None]:
    """Have the server join by hash alone what is executed within."""
    await conn.execute(_ONLY_HASH, {"other": "off"})
    yield
    # After an exception there is nothing to set back: it undoes the transaction.
    await conn.execute(_ONLY_HASH, {"other": "on"})
