"""Batches at a provider: what was intended, what is known of it, how far it has come.

Every write is fenced by the chunk that the batch serves: a worker that lost the chunk changes
nothing (``LeaseLost``). What is about to be sent is stored before it is sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from serpline.domain.errors import LeaseLost
from serpline.domain.names import BatchPriority
from serpline.domain.repair import Rung
from serpline.domain.states import BATCH_MACHINE, LIVE_ITEMS, BatchStatus, change
from serpline.store.database import Connection
from serpline.store.runs.chunks import CLOCKS_APART_SECONDS, OwnedChunk
from serpline.store.runs.settling import hand_over

_COLUMNS = (
    "id, chunk_id, generation, provider, name, secret_path, status, intended_at,"
    " provider_batch_id, rung, priority, items, results_count, next_result_set_id, result_set_id,"
    " pages_ingested, brought, started_at, errors, error_message"
)


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A provider batch as stored. ``items`` are the keys of the items it was made for.

    ``results_count`` and ``next_result_set_id`` are the provider's, read before the start.
    ``brought``: searches whose result came, by the pages ingested so far. ``started_at``: when a
    start may first have been sent, or when it was last seen in the provider's queue. ``errors``:
    failed looks in a row; ``error_message``: the last of them, what the batch waits for, or why it
    was lost.
    """

    id: int
    chunk_id: int
    generation: int
    provider: str
    name: str
    secret_path: str
    status: BatchStatus
    intended_at: datetime
    provider_batch_id: str | None
    rung: Rung
    priority: BatchPriority
    items: list[str]
    results_count: int | None
    next_result_set_id: int | None
    result_set_id: int | None
    pages_ingested: list[int]
    brought: int
    started_at: datetime | None
    errors: int
    error_message: str | None


def _row(row: Mapping[str, Any]) -> BatchRow:
    words = {
        "status": BatchStatus(row["status"]),
        "rung": Rung(row["rung"]),
        "priority": BatchPriority(row["priority"]),
    }
    return BatchRow(**{**row, **words})


async def current(conn: Connection, chunk: OwnedChunk) -> BatchRow | None:
    """The chunk's batch that has not come to an end, or None."""
    rows = await conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM provider_batches WHERE chunk_id = :chunk"
            " AND status NOT IN ('ingested', 'lost') ORDER BY generation DESC LIMIT 1"
        ),
        {"chunk": chunk.id},
    )
    row = rows.mappings().first()
    return _row(dict(row)) if row else None


async def made_so_far(conn: Connection, chunk: OwnedChunk) -> tuple[int, int]:
    """How many batches were made for the chunk, and the searches of the largest."""
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
    rung: Rung,
    priority: BatchPriority,
    items: Sequence[str],
    now: datetime,
) -> BatchRow:
    """Store what is about to be created and hand the items over to it, in one transaction."""
    rows = await conn.execute(
        text(
            "INSERT INTO provider_batches (chunk_id, generation, provider, name, secret_path,"
            " status, intended_at, rung, priority, items) SELECT c.id, :generation, :provider,"
            " :name, :secret, 'intended', :now, :rung, :priority, :items FROM chunks c"
            f" WHERE c.id = :chunk AND c.epoch = :epoch AND c.status = 'owned' RETURNING {_COLUMNS}"
        ),
        {
            "chunk": chunk.id,
            "epoch": chunk.epoch,
            "generation": generation,
            "provider": provider,
            "name": name,
            "secret": secret_path,
            "now": now,
            "rung": rung,
            "priority": priority,
            "items": list(items),
        },
    )
    row = rows.mappings().first()
    if row is None:
        raise LeaseLost(f"chunk {chunk.id} is no longer owned at epoch {chunk.epoch}")
    await hand_over(conn, chunk, items)
    return _row(dict(row))


async def advance(
    conn: Connection, chunk: OwnedChunk, batch: BatchRow, event: str, **values: Any
) -> BatchRow:
    """Compare-and-set the batch's state and the given columns; ``LeaseLost`` if it cannot be."""
    step = change(BATCH_MACHINE, event)
    fresh = {"status": step.target, "errors": 0, "error_message": None}
    return await _update(conn, chunk, batch, {**fresh, **values}, step.sources)


async def note(conn: Connection, chunk: OwnedChunk, batch: BatchRow, **values: Any) -> BatchRow:
    """Set columns of a batch whose state stays."""
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
        raise LeaseLost(f"batch {batch.name} is in other hands")
    return _row(dict(row))


class Doubt(NamedTuple):
    """Calls that may have taken effect without our having written down what came of it.

    ``sent_at``: the last of them, whatever was answered; ``unheard_at``: the last one without any
    answer, which may take effect yet. None: there is none.
    """

    sent_at: datetime | None
    unheard_at: datetime | None


async def doubt(conn: Connection, chunk: OwnedChunk, batch: BatchRow, operation: str) -> Doubt:
    """What is uncertain about the calls of ``operation`` for the batch.

    The ledger knows: what is sent was intended before, and what was not sent is taken back. A call
    that began in the future began before the clock was set back: for all we know, just now.
    """
    calls = (
        " WHERE run_id = :run AND provider = :provider AND chunk_id = :chunk"
        " AND operation = :operation"
    )
    values = {
        "run": chunk.run_id,
        "provider": batch.provider,
        "chunk": chunk.id,
        "operation": operation,
        "apart": CLOCKS_APART_SECONDS,
    }
    await conn.execute(
        text(
            f"UPDATE provider_calls SET started_at = now(){calls}"
            " AND started_at > now() + make_interval(secs => :apart)"
        ),
        values,
    )
    rows = await conn.execute(
        text(
            "SELECT max(started_at) AS sent_at,"
            " max(started_at) FILTER (WHERE http_status IS NULL) AS unheard_at"
            f" FROM provider_calls{calls} AND started_at >= (SELECT intended_at"
            " FROM provider_batches WHERE id = :batch) - make_interval(secs => :apart)"
        ),
        {**values, "batch": batch.id},
    )
    return Doubt(*rows.one())


async def is_awaited(conn: Connection, secret_path: str) -> bool:
    """Whether the path is that of a batch's webhook."""
    rows = await conn.execute(
        text("SELECT FROM provider_batches WHERE secret_path = :secret"), {"secret": secret_path}
    )
    return rows.first() is not None


async def take_notice(
    conn: Connection,
    secret_path: str,
    provider_batch_id: str,
    result_set_id: int,
    body: str,
) -> int | None:
    """Store a webhook for the batch of this secret path and have its chunk looked at.

    ``body`` is a JSON text. Returns the chunk's id; None, with nothing stored, if the path is no
    batch's, or is of another batch than the body says. A repeated webhook is stored once; waking
    twice is harmless.
    """
    rows = await conn.execute(
        text(
            "SELECT provider, chunk_id FROM provider_batches WHERE secret_path = :secret"
            " AND provider_batch_id = :batch"
        ),
        {"secret": secret_path, "batch": provider_batch_id},
    )
    row = rows.first()
    if row is None:
        return None
    await conn.execute(
        text(
            "INSERT INTO webhook_inbox (provider, provider_batch_id, result_set_id, body)"
            " VALUES (:provider, :batch, :set, CAST(:body AS jsonb)) ON CONFLICT DO NOTHING"
        ),
        {
            "provider": row.provider,
            "batch": provider_batch_id,
            "set": result_set_id,
            "body": body,
        },
    )
    return int(row.chunk_id)


async def chunk_of(conn: Connection, provider_batch_id: str) -> int | None:
    """The chunk that a provider's batch serves; None for a batch that is not ours."""
    rows = await conn.execute(
        text("SELECT chunk_id FROM provider_batches WHERE provider_batch_id = :id"),
        {"id": provider_batch_id},
    )
    row = rows.first()
    return int(row.chunk_id) if row else None


@dataclass(frozen=True, slots=True)
class Search:
    """An item of a chunk that has not ended; ``error`` tells what was tried before."""

    item: str
    attempts: int
    error: str | None


async def not_brought(conn: Connection, chunk: OwnedChunk, items: Sequence[str]) -> list[Search]:
    """Which of a batch's items nobody has settled since they were handed over (or reopened)."""
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


async def of_run(conn: Connection, run_id: UUID, limit: int) -> list[dict[str, Any]]:
    """A run's batches as people see them, oldest first."""
    rows = await conn.execute(
        text(
            "SELECT l.content_type, b.name, b.provider_batch_id, b.rung, b.priority, b.status,"
            " cardinality(b.items) AS searches, b.brought, b.started_at, b.ended_at,"
            " b.error_message AS error FROM chunks c JOIN provider_batches b ON b.chunk_id = c.id"
            " JOIN pipeline_phase_status l ON l.id = c.lane_id WHERE c.run_id = :run"
            " AND b.chunk_id = ANY(ARRAY(SELECT id FROM chunks WHERE run_id = :run))"
            " ORDER BY b.id LIMIT :limit"
        ),
        {"run": run_id, "limit": limit},
    )
    return [dict(row) for row in rows.mappings()]
