"""The searches of a ``serp_collection`` chunk: those without a result, and those that failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from serpline.domain.states import LIVE_ITEMS
from serpline.store.database import Connection
from serpline.store.runs.chunks import OwnedChunk


@dataclass(frozen=True, slots=True)
class Search:
    """An item of a chunk that has not ended; ``error``: that of its last attempt."""

    item: str
    attempts: int
    error: str | None


async def not_received(conn: Connection, chunk: OwnedChunk, items: Sequence[str]) -> list[Search]:
    """Return the batch's items without an outcome since they were handed over (or reopened)."""
    return await _searches(
        conn, chunk, "item = ANY(:items) AND status IN ('waiting', 'pending')", items=list(items)
    )


async def unfinished(conn: Connection, chunk: OwnedChunk, due: Sequence[str]) -> list[Search]:
    """Return the unfinished items of ``due``, and all that wait for another attempt.

    Items that failed together are repaired together, although their next attempts differ in time.
    """
    return await _searches(
        conn,
        chunk,
        "(status = 'retry_wait' OR item = ANY(:items)) AND status = ANY(:live)",
        items=list(due),
        live=[str(status) for status in LIVE_ITEMS],
    )


async def attempts_of_failed(
    conn: Connection, chunk: OwnedChunk, items: Sequence[str]
) -> dict[int, int]:
    """Count a batch's items that failed or wait for another attempt, by attempts made."""
    rows = await conn.execute(
        text(
            "SELECT attempts, count(*) AS searches FROM items WHERE lane_id = :lane"
            " AND chunk_no = :no AND item = ANY(:items) AND status IN ('retry_wait', 'failed')"
            " GROUP BY attempts"
        ),
        {"lane": chunk.lane_id, "no": chunk.no, "items": list(items)},
    )
    return {row.attempts: row.searches for row in rows}


async def _searches(
    conn: Connection, chunk: OwnedChunk, condition: str, **values: Any
) -> list[Search]:
    rows = await conn.execute(
        text(
            "SELECT item, attempts, error FROM items WHERE lane_id = :lane AND chunk_no = :no"
            f" AND {condition} ORDER BY item"
        ),
        {"lane": chunk.lane_id, "no": chunk.no, **values},
    )
    return [Search(row.item, row.attempts, row.error) for row in rows]
