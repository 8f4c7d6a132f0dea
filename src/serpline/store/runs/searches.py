"""The searches of a chunk of ``serp_collection``: what a batch has not brought, what has failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from serpline.domain.states import LIVE_ITEMS
from serpline.store.database import Connection
from serpline.store.runs.chunks import OwnedChunk


@dataclass(frozen=True, slots=True)
class Search:
    """An item of a chunk that has not ended; ``error`` tells what was tried before."""

    item: str
    attempts: int
    error: str | None


async def not_received(conn: Connection, chunk: OwnedChunk, items: Sequence[str]) -> list[Search]:
    """The batch's items that have no outcome since they were handed over (or reopened)."""
    return await _searches(
        conn, chunk, "item = ANY(:items) AND status IN ('waiting', 'pending')", items=list(items)
    )


async def unfinished(conn: Connection, chunk: OwnedChunk, due: Sequence[str]) -> list[Search]:
    """The items of ``due`` that have not ended, and those that wait for another attempt.

    What failed together is repaired together, though the times of their next attempts differ.
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
    """How many of a batch's items wait for another attempt, or have failed, by attempts made."""
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
