"""Make chunks due: something they wait for has happened.

Nothing here wakes a worker. The caller does, in the same transaction (``store.queue.wakeups``).
"""

from uuid import UUID

from sqlalchemy import text

from serpline.store.database import Connection


async def make_due(conn: Connection, chunk_id: int) -> None:
    """Make a chunk due now; if a worker owns it, as soon as the worker releases it."""
    await conn.execute(
        text(
            "UPDATE chunks SET next_check_at = least(next_check_at, now()), idle_polls = 0"
            " WHERE id = :id AND status <> 'done'"
        ),
        {"id": chunk_id},
    )


async def make_all_due(conn: Connection, run_id: UUID) -> None:
    """Make all ready chunks of a run due now."""
    await conn.execute(
        text(
            "UPDATE chunks SET next_check_at = least(next_check_at, now()), idle_polls = 0"
            " WHERE run_id = :run AND status = 'ready'"
        ),
        {"run": run_id},
    )


async def make_waiting_due(conn: Connection, breaker: str) -> list[tuple[int, int]]:
    """Make the chunks that wait on a breaker (or budget) due: (chunk, its lane's priority)."""
    rows = await conn.execute(
        text(
            "WITH waiting AS (SELECT c.id, l.priority FROM chunks c"
            " JOIN pipeline_phase_status l ON l.id = c.lane_id"
            " JOIN pipeline_executions r ON r.id = c.run_id"
            " WHERE c.waits_on IS NOT NULL AND c.waits_on @> ARRAY[:breaker]"
            " AND c.status = 'ready' AND r.status = 'running' ORDER BY c.id FOR UPDATE OF c)"
            " UPDATE chunks c SET next_check_at = now(), idle_polls = 0"
            " FROM waiting WHERE c.id = waiting.id"
            " RETURNING c.id, waiting.priority"
        ),
        {"breaker": breaker},
    )
    return [(row.id, row.priority) for row in rows]


async def make_owned_due(conn: Connection) -> None:
    """Make every owned chunk due as soon as its worker releases it.

    A refusal that it just had may no longer hold.
    """
    await conn.execute(
        text(
            # By id, as ``make_waiting_due`` locks chunks: two workers may start at once.
            "WITH owned AS (SELECT id FROM chunks WHERE status = 'owned' ORDER BY id FOR UPDATE)"
            " UPDATE chunks c SET next_check_at = now() FROM owned WHERE c.id = owned.id"
        )
    )


async def count_waiting(conn: Connection, name: str) -> int:
    """Count the chunks of running runs that wait on ``name``."""
    rows = await conn.execute(
        text(
            "SELECT count(*) FROM chunks c JOIN pipeline_executions r ON r.id = c.run_id"
            " WHERE c.waits_on IS NOT NULL AND c.waits_on @> ARRAY[:name]"
            " AND c.status = 'ready' AND r.status = 'running'"
        ),
        {"name": name},
    )
    return int(rows.scalar_one())
