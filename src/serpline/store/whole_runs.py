"""How statements over a whole run are planned: without trust in what the server has counted.

PostgreSQL counts a table again when a tenth of it has changed. Until then it takes what a new run
has for a few rows, in a young database and in one with years of runs alike, and a few rows may be
joined in any way: by nested loops, or merged by a column that all of them share, each row of the
run with each other, for minutes or hours.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sqlalchemy import text

from serpline.store.database import Connection

_ONLY_HASH = text(
    "SELECT set_config('enable_nestloop', :other, true),"
    " set_config('enable_mergejoin', :other, true)"
)


@asynccontextmanager
async def whole_run(conn: Connection) -> AsyncGenerator[None, None]:
    """Inside, tables are joined by hash: the work grows with the run, never with its square.

    For statements that read a run or a lane: joined by equality (an OR can only loop), and each
    table told by a value which run's rows are meant (of a table that learns it by the join, the
    rows of all runs would be read). Not to be nested.
    """
    await conn.execute(_ONLY_HASH, {"other": "off"})
    yield
    # After an exception there is nothing to set back: it undoes the transaction.
    await conn.execute(_ONLY_HASH, {"other": "on"})
