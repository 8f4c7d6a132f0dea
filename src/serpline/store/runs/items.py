"""Single items: planned from a list, settled one by one, shown to people."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from serpline.domain.phases import LaneKey
from serpline.domain.states import ITEM_MACHINE, StateStatus, change
from serpline.store.database import Connection
from serpline.store.runs import planning


@dataclass(frozen=True, slots=True)
class ChunkOfItem:
    """An item's chunk, and whether a worker owns it."""

    chunk_id: int
    lane_id: int
    no: int
    owned: bool


async def lane_id(conn: Connection, run_id: UUID, lane: LaneKey) -> int:
    """Return the lane's id and lock its row; create the lane if it is missing."""
    rows = await conn.execute(
        text(
            "INSERT INTO pipeline_phase_status (pipeline_execution_id, phase_name, content_type,"
            " source_run_id) VALUES (:run, :phase, :type, :run)"
            " ON CONFLICT (pipeline_execution_id, phase_name, content_type)"
            " DO UPDATE SET status = pipeline_phase_status.status RETURNING id"
        ),
        {"run": run_id, "phase": lane.phase, "type": lane.content_type},
    )
    return int(rows.scalar_one())


async def plan_given(conn: Connection, lane_id: int, items: Sequence[str], chunk_size: int) -> int:
    """Plan the given items in a lane whose row is locked; returns how many were new."""
    source = "SELECT DISTINCT item FROM unnest(CAST(:given AS text[])) AS g(item)"
    made = await planning.plan(conn, lane_id, source, {"given": list(items)}, chunk_size)
    rows = await conn.execute(
        text("SELECT coalesce(sum(planned), 0) FROM chunks WHERE id = ANY(:ids)"), {"ids": made}
    )
    return int(rows.scalar_one())


async def lock_chunk_of(
    conn: Connection, run_id: UUID, lane: LaneKey, item: str
) -> ChunkOfItem | None:
    """Return the chunk of an item and lock its row; None if there is no such item."""
    rows = await conn.execute(
        text(
            "SELECT c.id, c.lane_id, c.no, c.status = 'owned' AS owned FROM pipeline_phase_status l"
            " JOIN items i ON i.lane_id = l.id"
            " JOIN chunks c ON c.lane_id = l.id AND c.no = i.chunk_no"
            " WHERE l.pipeline_execution_id = :run AND l.phase_name = :phase"
            " AND l.content_type = :type AND i.item = :item FOR UPDATE OF c"
        ),
        {"run": run_id, "phase": lane.phase, "type": lane.content_type, "item": item},
    )
    row = rows.first()
    return ChunkOfItem(row.id, row.lane_id, row.no, row.owned) if row else None


async def count_one(conn: Connection, chunk_id: int, status: StateStatus) -> bool:
    """Count a single settled item (completed, failed or skipped).

    Its last item ends the chunk. True if the chunk is done and its run is running, so that the
    caller wakes the run.
    """
    rows = await conn.execute(
        text(
            f"UPDATE chunks c SET {status} = {status} + 1,"
            " status = CASE WHEN completed + failed + skipped + 1 = planned THEN 'done'"
            " ELSE c.status END FROM pipeline_executions r WHERE c.id = :id AND r.id = c.run_id"
            " RETURNING c.status = 'done' AND r.status = 'running' AS wakes"
        ),
        {"id": chunk_id},
    )
    return bool(rows.scalar_one())


async def begin(conn: Connection, lane_id: int, item: str) -> bool:
    """Mark a single item as in progress; False if its state does not allow it."""
    step = change(ITEM_MACHINE, "begin")
    rows = await conn.execute(
        text(
            "UPDATE items SET status = :target, next_attempt_at = NULL WHERE lane_id = :lane"
            " AND item = :item AND status = ANY(:sources) RETURNING item"
        ),
        {"lane": lane_id, "item": item, "target": step.target, "sources": step.sources},
    )
    return rows.first() is not None


async def write_results(
    conn: Connection, lane_id: int, items: Sequence[str], results: Sequence[str]
) -> None:
    """Write results as JSON texts, one per item; an existing result stays."""
    # One JSON array, not an array of texts: quoting each text took a third of a settlement.
    await conn.execute(
        text(
            "INSERT INTO item_results (lane_id, item, result)"
            " SELECT :lane, u.item, u.result FROM ROWS FROM (unnest(CAST(:items AS text[])),"
            " jsonb_array_elements(CAST(:results AS jsonb))) AS u(item, result)"
            " ON CONFLICT DO NOTHING"
        ),
        {"lane": lane_id, "items": list(items), "results": f"[{','.join(results)}]"},
    )


async def sample_error(conn: Connection, lane_id: int) -> str | None:
    """Return the error of one failed item, to explain a lane's failure."""
    rows = await conn.execute(
        text(
            "SELECT error FROM items WHERE lane_id = :lane AND status = 'failed'"
            " AND error IS NOT NULL ORDER BY item LIMIT 1"
        ),
        {"lane": lane_id},
    )
    return rows.scalar_one_or_none()
