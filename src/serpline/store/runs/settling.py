"""Settling: item states, results and counters commit together, or not at all.

Items leave their live states by compare-and-set. The fence is the chunk's epoch: ``count`` checks
it last, and raises to roll back the whole transaction.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from serpline.domain.errors import LeaseLost
from serpline.domain.states import ITEM_MACHINE, LIVE_ITEMS, StateStatus, change
from serpline.store.database import Connection
from serpline.store.hash_joins import execute_hash_joined
from serpline.store.runs.chunks import OwnedChunk
from serpline.store.runs.retries import FailedAttempt, record_attempts

_LIVE = [str(status) for status in LIVE_ITEMS]


class Settlement(NamedTuple):
    """The next state of an item. ``counts_attempt``: whether an attempt failed."""

    item: str
    status: StateStatus
    counts_attempt: bool = False
    next_attempt_at: datetime | None = None
    error_category: str | None = None
    error: str | None = None
    delay_seconds: float | None = None


class Changed(NamedTuple):
    """An item whose state a settlement changed; ``attempts``: failed attempts so far."""

    item: str
    status: StateStatus
    attempts: int


_SETTLE_ALL = text(
    """
    UPDATE items i SET status = :status, next_attempt_at = NULL, delay_seconds = NULL,
        error_category = NULL, error = NULL
    WHERE i.lane_id = :lane AND i.chunk_no = :no AND i.item = ANY(:items)
    AND i.status = ANY(:live) RETURNING i.item, i.attempts
    """
)

_SETTLE = text(
    """
    UPDATE items i SET status = u.status, attempts = i.attempts + u.attempt,
        deaths = CASE WHEN u.status = 'failed' THEN i.deaths ELSE 0 END,
        next_attempt_at = u.next_attempt_at, delay_seconds = u.delay_seconds,
        error_category = u.category, error = u.error
    FROM unnest(CAST(:items AS text[]), CAST(:states AS text[]), CAST(:attempts AS smallint[]),
        CAST(:times AS timestamptz[]), CAST(:delays AS float8[]), CAST(:categories AS text[]),
        CAST(:errors AS text[]))
        AS u(item, status, attempt, next_attempt_at, delay_seconds, category, error)
    WHERE i.lane_id = :lane AND i.chunk_no = :no AND i.item = ANY(:items) AND i.item = u.item
    AND i.status = ANY(:live) RETURNING i.item, i.status, i.attempts
    """
)


async def settle_items(
    conn: Connection, lane_id: int, chunk_no: int, settlements: Sequence[Settlement]
) -> list[Changed]:
    """Compare-and-set a chunk's items out of their live states; returns the changed items.

    The statement names both the chunk and the items, so that it reads only these, once, even with
    wrong statistics.
    """
    items = [s.item for s in settlements]
    if all(s.status is StateStatus.COMPLETED for s in settlements):
        rows = await conn.execute(
            _SETTLE_ALL,
            {
                "lane": lane_id,
                "no": chunk_no,
                "items": items,
                "status": StateStatus.COMPLETED,
                "live": _LIVE,
            },
        )
        return [Changed(item, StateStatus.COMPLETED, attempts) for item, attempts in rows]
    # An index finds the items and a hash joins them, so each is read and compared once.
    rows = await execute_hash_joined(
        conn,
        _SETTLE,
        {
            "lane": lane_id,
            "no": chunk_no,
            "items": items,
            "live": _LIVE,
            "states": [str(s.status) for s in settlements],
            "attempts": [int(s.counts_attempt) for s in settlements],
            "times": [s.next_attempt_at for s in settlements],
            "delays": [s.delay_seconds for s in settlements],
            "categories": [s.error_category for s in settlements],
            "errors": [s.error[:2000] if s.error else None for s in settlements],
        },
    )
    return [Changed(item, StateStatus(status), attempts) for item, status, attempts in rows]


async def record_failures(
    conn: Connection,
    chunk: OwnedChunk,
    settlements: Sequence[Settlement],
    changed: Sequence[Changed],
    now: datetime,
) -> None:
    """Write the failed attempts of the changed items to the history of retries."""
    made = {one.item: one for one in settlements if one.counts_attempt}
    failed = [
        FailedAttempt(item, attempts, one.delay_seconds, one.error_category, one.error)
        for item, _, attempts in changed
        if (one := made.get(item)) is not None
    ]
    await record_attempts(conn, chunk, now, failed)


async def count(
    conn: Connection, chunk: OwnedChunk, *, completed: int, failed: int, skipped: int
) -> None:
    """Add to the chunk's counters; ``LeaseLost`` if it is no longer owned at its epoch.

    This is the fence. It comes last in a settlement, and raising rolls back the whole transaction.
    What the chunk waited for is over.
    """
    rows = await conn.execute(
        text(
            "UPDATE chunks SET completed = completed + :completed, failed = failed + :failed,"
            " skipped = skipped + :skipped, wait_cause = NULL, wait_subject = NULL"
            " WHERE id = :id AND epoch = :epoch AND status = 'owned' RETURNING id"
        ),
        {
            "id": chunk.id,
            "epoch": chunk.epoch,
            "completed": completed,
            "failed": failed,
            "skipped": skipped,
        },
    )
    if rows.first() is None:
        raise LeaseLost(f"chunk {chunk.id} is no longer owned at epoch {chunk.epoch}")


async def hand_over(conn: Connection, chunk: OwnedChunk, items: Sequence[str]) -> None:
    """Mark items as owned by a provider batch."""
    await conn.execute(
        text(
            "UPDATE items SET status = 'waiting', next_attempt_at = NULL WHERE lane_id = :lane"
            " AND chunk_no = :no AND item = ANY(:items) AND status = ANY(:sources)"
        ),
        {
            "lane": chunk.lane_id,
            "no": chunk.no,
            "items": list(items),
            "sources": change(ITEM_MACHINE, "hand_over").sources,
        },
    )
