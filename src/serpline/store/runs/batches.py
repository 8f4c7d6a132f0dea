"""Provider batches: what was sent, what the provider answered, and their progress.

The chunk that a batch serves fences every write: a worker that lost the chunk changes nothing
(``LeaseLost``). Every create, add and start is stored before it is sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.domain.errors import LeaseLost
from serpline.domain.names import BatchPriority
from serpline.domain.repair import RepairStage
from serpline.domain.states import BATCH_MACHINE, BatchStatus, change
from serpline.store.database import Connection
from serpline.store.runs.chunks import OwnedChunk
from serpline.store.runs.settling import hand_over

_COLUMNS = (
    "id, generation, name, secret_path, status, sent_at, provider_batch_id, stage, priority, items,"
    " results_count, next_result_set_id, result_set_id, pages_ingested, received, started_at,"
    " scheduled_for, unannounced_at, errors, error_message"
)


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A provider batch as stored. ``items``: the keys of the items it was made for.

    ``sent_at``: when the unanswered create, add or start was sent; None: all are answered.
    ``results_count`` and ``next_result_set_id``: the provider's values, read before the start.
    ``received``: searches with a result in the pages ingested so far. ``started_at``: when a start
    may first have been sent, or when the batch was last seen in the provider's queue.
    ``scheduled_for``: the slot whose results it has, if the provider starts the batch.
    ``unannounced_at``: when a poll first found the result set without its webhook. ``errors``:
    consecutive failed polls. ``error_message``: the last error, what the batch waits for, or why it
    was lost.
    """

    id: int
    generation: int
    name: str
    secret_path: str
    status: BatchStatus
    sent_at: datetime | None
    provider_batch_id: str | None
    stage: RepairStage
    priority: BatchPriority
    items: list[str]
    results_count: int | None
    next_result_set_id: int | None
    result_set_id: int | None
    pages_ingested: list[int]
    received: int
    started_at: datetime | None
    scheduled_for: datetime | None
    unannounced_at: datetime | None
    errors: int
    error_message: str | None


def _row(row: Mapping[str, Any]) -> BatchRow:
    enums = {
        "status": BatchStatus(row["status"]),
        "stage": RepairStage(row["stage"]),
        "priority": BatchPriority(row["priority"]),
    }
    return BatchRow(**{**row, **enums})


async def current(conn: Connection, chunk: OwnedChunk) -> BatchRow | None:
    """Return the chunk's unended batch, or None."""
    rows = await conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM provider_batches WHERE chunk_id = :chunk"
            " AND status NOT IN ('ingested', 'lost') ORDER BY generation DESC LIMIT 1"
        ),
        {"chunk": chunk.id},
    )
    row = rows.mappings().first()
    return _row(dict(row)) if row else None


async def count_made(conn: Connection, chunk: OwnedChunk) -> tuple[int, int]:
    """Return how many batches were made for the chunk, and the searches of the largest."""
    rows = await conn.execute(
        text(
            "SELECT count(*) AS batches, coalesce(max(cardinality(items)), 0) AS largest"
            " FROM provider_batches WHERE chunk_id = :chunk"
        ),
        {"chunk": chunk.id},
    )
    row = rows.one()
    return row.batches, row.largest


async def intend(
    conn: Connection,
    chunk: OwnedChunk,
    *,
    provider: str,
    name: str,
    secret_path: str,
    generation: int,
    stage: RepairStage,
    priority: BatchPriority,
    items: Sequence[str],
) -> BatchRow:
    """Store a batch that is about to be created and hand the items over to it."""
    return await _insert(
        conn,
        chunk,
        items,
        generation=generation,
        provider=provider,
        name=name,
        secret_path=secret_path,
        status=BatchStatus.INTENDED,
        stage=stage,
        priority=priority,
    )


async def take(
    conn: Connection,
    chunk: OwnedChunk,
    *,
    provider: str,
    name: str,
    secret_path: str,
    generation: int,
    priority: BatchPriority,
    items: Sequence[str],
    batch_id: str,
    result_set_id: int | None,
    scheduled_for: datetime | None,
    now: datetime,
) -> BatchRow:
    """Store a batch that somebody else made, and hand the items over to its result set.

    Without ``result_set_id`` the batch counts as running: it may still do so. ``scheduled_for``:
    the slot, if the provider starts the batch.
    """
    return await _insert(
        conn,
        chunk,
        items,
        generation=generation,
        provider=provider,
        name=name,
        secret_path=secret_path,
        status=BatchStatus.RUNNING if result_set_id is None else BatchStatus.READY,
        stage=RepairStage.GIVEN,
        priority=priority,
        provider_batch_id=batch_id,
        results_count=0,
        result_set_id=result_set_id,
        started_at=now,
        scheduled_for=scheduled_for,
    )


async def _insert(
    conn: Connection, chunk: OwnedChunk, items: Sequence[str], **columns: Any
) -> BatchRow:
    """Store a batch of an owned chunk, and hand the items over to it."""
    names = ", ".join(columns)
    values = ", ".join(f":{name}" for name in columns)
    rows = await conn.execute(
        text(
            f"INSERT INTO provider_batches (chunk_id, items, {names}) SELECT c.id, :items, {values}"
            " FROM chunks c WHERE c.id = :chunk AND c.epoch = :epoch AND c.status = 'owned'"
            f" RETURNING {_COLUMNS}"
        ),
        {"chunk": chunk.id, "epoch": chunk.epoch, "items": list(items), **columns},
    )
    row = rows.mappings().first()
    if row is None:
        raise LeaseLost(f"chunk {chunk.id} is no longer owned at epoch {chunk.epoch}")
    await hand_over(conn, chunk, items)
    return _row(dict(row))


async def advance(
    conn: Connection, chunk: OwnedChunk, batch: BatchRow, event: str, **values: Any
) -> BatchRow:
    """Compare-and-set the batch's state and set columns; ``LeaseLost`` if it is not allowed."""
    step = change(BATCH_MACHINE, event)
    fresh = {"status": step.target, "sent_at": None, "errors": 0, "error_message": None}
    return await _update(conn, chunk, batch, {**fresh, **values}, step.sources)


async def note(conn: Connection, chunk: OwnedChunk, batch: BatchRow, **values: Any) -> BatchRow:
    """Set columns of a batch and keep its state."""
    return await _update(conn, chunk, batch, values, [str(batch.status)])


async def _update(
    conn: Connection,
    chunk: OwnedChunk,
    batch: BatchRow,
    values: Mapping[str, Any],
    sources: Sequence[str],
) -> BatchRow:
    sets = ", ".join(f"{name} = :{name}" for name in values)
    rows = await conn.execute(
        text(
            f"UPDATE provider_batches SET {sets} WHERE id = :id AND status = ANY(:sources)"
            " AND EXISTS (SELECT 1 FROM chunks c WHERE c.id = chunk_id AND c.epoch = :epoch"
            f" AND c.status = 'owned') RETURNING {_COLUMNS}"
        ),
        {**values, "id": batch.id, "sources": list(sources), "epoch": chunk.epoch},
    )
    row = rows.mappings().first()
    if row is None:
        raise LeaseLost(f"batch {batch.name} has another owner or state")
    return _row(dict(row))


async def started(conn: Connection, run_id: UUID) -> list[tuple[str, str, int | None]]:
    """Return content type, provider's id and result set (if known) of a run's started batches.

    First the first batch of every chunk, in the order of the chunks.
    """
    rows = await conn.execute(
        text(
            "SELECT l.content_type, b.provider_batch_id, b.result_set_id FROM chunks c"
            " JOIN provider_batches b ON b.chunk_id = c.id"
            " JOIN pipeline_phase_status l ON l.id = c.lane_id WHERE c.run_id = :run"
            " AND b.provider_batch_id IS NOT NULL AND b.started_at IS NOT NULL"
            " ORDER BY b.generation, c.no, c.id"
        ),
        {"run": run_id},
    )
    return [(row.content_type, row.provider_batch_id, row.result_set_id) for row in rows]


async def of_run(conn: Connection, run_id: UUID, limit: int) -> list[dict[str, Any]]:
    """Return a run's batches for people, oldest first."""
    rows = await conn.execute(
        text(
            "SELECT l.content_type, b.name, b.provider_batch_id, b.stage, b.priority, b.status,"
            " cardinality(b.items) AS searches, b.received, b.started_at, b.ended_at,"
            " b.error_message AS error FROM chunks c JOIN provider_batches b ON b.chunk_id = c.id"
            " JOIN pipeline_phase_status l ON l.id = c.lane_id WHERE c.run_id = :run"
            " AND b.chunk_id = ANY(ARRAY(SELECT id FROM chunks WHERE run_id = :run))"
            " ORDER BY b.id LIMIT :limit"
        ),
        {"run": run_id, "limit": limit},
    )
    return [dict(row) for row in rows.mappings()]
