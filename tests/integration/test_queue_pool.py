"""The pool of the job queue's library."""

from typing import Any

import psycopg
import pytest

from serpline.store.database import Database
from serpline.store.queue.pool import queue_pool


async def test_a_connection_that_was_ended_is_replaced_and_one_that_lives_is_not_asked(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the pool gives out works, and costs no statement of its own."""
    sent: list[Any] = []
    execute = psycopg.AsyncCursor.execute

    async def noted(cursor: Any, query: Any, *more: Any, **named: Any) -> Any:
        sent.append(query)
        return await execute(cursor, query, *more, **named)

    async def pid() -> int:
        async with pool.connection() as conn:
            found = await (await conn.execute("SELECT pg_backend_pid()")).fetchone()
        return int(found[0])

    pool = queue_pool(conninfo=db.conninfo, min_size=1, max_size=1, open=False, check=None)
    async with pool:
        first = await pid()
        monkeypatch.setattr(psycopg.AsyncCursor, "execute", noted)
        assert await pid() == first
        assert sent == ["SELECT pg_backend_pid()"]
        async with await psycopg.AsyncConnection.connect(db.conninfo, autocommit=True) as other:
            await other.execute("SELECT pg_terminate_backend(%s, 5000)", (first,))
        assert await pid() != first
