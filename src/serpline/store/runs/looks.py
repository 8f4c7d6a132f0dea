"""Something that a chunk waits for has happened: its next look is lowered to now.

Nothing here wakes a worker: the caller does, in the same transaction (``store.queue.wakeups``).
"""

from uuid import UUID

from sqlalchemy import text

from serpline.store.database import Connection


async def look_now(conn: Connection, chunk_id: int) -> None:
    """Lower the chunk's next look to now: something it waits for has happened.

    If it is in a worker's hands just now, it is looked at again as soon as it is given back.
    """
    await conn.execute(
        text(
            "UPDATE chunks SET next_look_at = least(next_look_at, now()), idle_looks = 0"
            " WHERE id = :id AND status <> 'done'"
        ),
        {"id": chunk_id},
    )


async def look_at_all(conn: Connection, run_id: UUID) -> None:
    """Lower the next look of all the run's ready chunks to now."""
    await conn.execute(
        text(
            "UPDATE chunks SET next_look_at = least(next_look_at, now()), idle_looks = 0"
            " WHERE run_id = :run AND status = 'ready'"
        ),
        {"run": run_id},
    )


async def look_at_waiting(conn: Connection, breaker: str) -> list[tuple[int, int]]:
    """Lower the next look of what waits on a breaker (or budget): (chunk, its run's priority)."""
    rows = await conn.execute(
        text(
            "WITH waiting AS (SELECT c.id, r.priority FROM chunks c"
            " JOIN pipeline_executions r ON r.id = c.run_id"
            " WHERE c.waits_on IS NOT NULL AND c.waits_on @> ARRAY[:breaker]"
            " AND c.status = 'ready' AND r.status = 'running' ORDER BY c.id FOR UPDATE OF c)"
            " UPDATE chunks c SET next_look_at = now(), idle_looks = 0"
            " FROM waiting WHERE c.id = waiting.id"
            " RETURNING c.id, waiting.priority"
        ),
        {"breaker": breaker},
    )
    return [(row.id, row.priority) for row in rows]


async def count_waiting(conn: Connection, name: str) -> int:
    """How many chunks of running runs wait on ``name``."""
    rows = await conn.execute(
        text(
            "SELECT count(*) FROM chunks c JOIN pipeline_executions r ON r.id = c.run_id"
            " WHERE c.waits_on IS NOT NULL AND c.waits_on @> ARRAY[:name]"
            " AND c.status = 'ready' AND r.status = 'running'"
        ),
        {"name": name},
    )
    return int(rows.scalar_one())
