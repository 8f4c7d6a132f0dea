"""Planning: insert a lane's items and chunks in one statement, and reopen failed items.

``store.runs.chunks`` claims chunks, and ``store.runs.settling`` settles items.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.domain.states import LIVE_ITEMS
from serpline.store.database import IDLE_LIMIT, Connection
from serpline.store.hash_joins import execute_hash_joined


async def plan(
    conn: Connection, lane_id: int, source_sql: str, params: Mapping[str, Any], chunk_size: int
) -> list[int]:
    """Plan the new items of ``source_sql``, a query of one text column ``item``.

    Returns the ids of the new chunks. The caller must have locked the lane's row.
    """
    rows = await execute_hash_joined(
        conn,
        text(
            f"""
            WITH source AS ({source_sql}),
            fresh AS (
                SELECT item, ((row_number() OVER (ORDER BY item)) - 1) / :size
                    + (SELECT coalesce(max(no) + 1, 0) FROM chunks WHERE lane_id = :lane) AS no
                FROM source WHERE NOT EXISTS (
                    SELECT 1 FROM items i WHERE i.lane_id = :lane AND i.item = source.item
                )
            ),
            planted AS (
                INSERT INTO items (lane_id, item, chunk_no) SELECT :lane, item, no FROM fresh
                ON CONFLICT DO NOTHING RETURNING chunk_no
            )
            INSERT INTO chunks (lane_id, no, run_id, planned, next_check_at)
            SELECT :lane, chunk_no,
                (SELECT pipeline_execution_id FROM pipeline_phase_status WHERE id = :lane),
                count(*), now()
            FROM planted GROUP BY chunk_no ORDER BY chunk_no RETURNING id
            """
        ),
        {**params, "lane": lane_id, "size": chunk_size},
    )
    return [row.id for row in rows]


async def lock_unplanned(conn: Connection, lane_id: int) -> bool:
    """Lock an unplanned running lane and mark it planned; False if it is not one."""
    rows = await conn.execute(
        text(
            "UPDATE pipeline_phase_status SET planned_at = now()"
            " WHERE id = :lane AND status = 'running' AND planned_at IS NULL"
            f" RETURNING id, {IDLE_LIMIT}"
        ),
        {"lane": lane_id},
    )
    return rows.first() is not None


async def ready_of(conn: Connection, lane_id: int) -> list[int]:
    """Return the ids of a lane's ready chunks."""
    rows = await conn.execute(
        text("SELECT id FROM chunks WHERE lane_id = :lane AND status = 'ready' ORDER BY no"),
        {"lane": lane_id},
    )
    return [row.id for row in rows]


async def lanes_where_failed(
    conn: Connection, run_id: UUID, item: str | None, category: str | None
) -> set[int]:
    """Return the ids of the run's lanes in which the item, or an item by the category, failed."""
    rows = await conn.execute(
        text(
            "SELECT l.id FROM pipeline_phase_status l WHERE l.pipeline_execution_id = :run"
            " AND EXISTS (SELECT FROM items i WHERE i.lane_id = l.id AND i.status = 'failed'"
            " AND (CAST(:item AS text) IS NULL OR i.item = :item)"
            " AND (CAST(:category AS text) IS NULL OR i.error_category = :category))"
        ),
        {"run": run_id, "item": item, "category": category},
    )
    return {row.id for row in rows}


async def reopen_failed(
    conn: Connection, lane_id: int, item: str | None = None, category: str | None = None
) -> int:
    """Make failed items pending again: all, one, or those of a category; returns how many."""
    rows = await execute_hash_joined(
        conn,
        text(
            """
            WITH reopened AS (
                UPDATE items SET status = 'pending', attempts = 0, deaths = 0,
                    next_attempt_at = NULL, error_category = NULL, error = NULL
                WHERE lane_id = :lane AND status = 'failed'
                AND (CAST(:item AS text) IS NULL OR item = :item)
                AND (CAST(:category AS text) IS NULL OR error_category = :category)
                RETURNING chunk_no
            ), counted AS (SELECT chunk_no, count(*) AS n FROM reopened GROUP BY chunk_no)
            UPDATE chunks c SET failed = c.failed - counted.n, crashes = 0,
                next_check_at = now(), wait_cause = NULL, wait_subject = NULL,
                status = CASE WHEN c.status = 'done' THEN 'ready' ELSE c.status END
            FROM counted WHERE c.lane_id = :lane AND c.no = counted.chunk_no RETURNING counted.n
            """
        ),
        {"lane": lane_id, "item": item, "category": category},
    )
    return sum(row.n for row in rows)


async def discard(conn: Connection, lane_id: int) -> None:
    """Delete a lane's items, results and chunks, so that it is planned and computed again."""
    await conn.execute(text("DELETE FROM items WHERE lane_id = :lane"), {"lane": lane_id})
    await conn.execute(text("DELETE FROM item_results WHERE lane_id = :lane"), {"lane": lane_id})
    await conn.execute(text("DELETE FROM chunks WHERE lane_id = :lane"), {"lane": lane_id})


async def fail_unfinished(conn: Connection, lane_id: int, reason: str, category: str) -> int:
    """Fail a lane's unfinished items and end its chunks; returns how many items failed.

    Owners of its chunks are fenced off. An unplanned lane is marked planned, so it stays empty. A
    lane that is being planned is waited for, and its new items fail too.
    """
    await conn.execute(
        text(
            "UPDATE pipeline_phase_status SET planned_at = coalesce(planned_at, now())"
            " WHERE id = :lane"
        ),
        {"lane": lane_id},
    )
    rows = await execute_hash_joined(
        conn,
        text(
            """
            WITH ended AS (
                UPDATE items SET status = 'failed', next_attempt_at = NULL,
                    error_category = :category,
                    error = right(concat_ws('; ', error, CAST(:reason AS text)), 2000)
                WHERE lane_id = :lane AND status = ANY(:live) RETURNING chunk_no
            ), counted AS (SELECT chunk_no, count(*) AS n FROM ended GROUP BY chunk_no),
            shut AS (
                UPDATE chunks c SET failed = c.failed + coalesce(counted.n, 0), status = 'done',
                    owner = NULL, epoch = c.epoch + 1, next_check_at = NULL, waits_on = NULL
                FROM chunks old LEFT JOIN counted ON counted.chunk_no = old.no
                WHERE c.id = old.id AND c.lane_id = :lane AND old.lane_id = :lane
                AND old.status <> 'done'
            )
            SELECT coalesce(sum(n), 0) FROM counted
            """
        ),
        {
            "lane": lane_id,
            "reason": reason,
            "category": str(category),
            "live": [str(status) for status in LIVE_ITEMS],
        },
    )
    return int(rows.scalar_one())
