"""Webhooks of provider batches: find the batch of a path, and store the webhook."""

from sqlalchemy import text

from serpline.store.database import Connection

# The only provider whose scheduled batches we use.
SCHEDULER = "scaleserp"


async def is_awaited(conn: Connection, secret_path: str) -> bool:
    """Whether the path belongs to a batch."""
    rows = await conn.execute(
        text(
            "SELECT FROM provider_batches WHERE secret_path = :secret"
            " UNION ALL SELECT FROM provider_schedules WHERE secret_path = :secret"
        ),
        {"secret": secret_path},
    )
    return rows.first() is not None


async def record_webhook(
    conn: Connection,
    secret_path: str,
    provider_batch_id: str,
    result_set_id: int,
    body: str,
) -> list[int] | None:
    """Store a webhook for the batch of this secret path.

    ``body``: a JSON text. Returns the chunks that the batch serves: one, or those that wait for a
    scheduled batch. Stores nothing and returns None if no batch has this path and provider id. A
    repeated webhook is stored once; waking twice is harmless.
    """
    rows = await conn.execute(
        text(
            "SELECT provider, ARRAY[chunk_id] AS chunks FROM provider_batches"
            " WHERE secret_path = :secret AND provider_batch_id = :batch UNION ALL"
            " SELECT :scheduler, ARRAY(SELECT b.chunk_id FROM provider_batches b"
            " WHERE b.provider_batch_id = p.provider_batch_id AND b.status = 'running'"
            " ORDER BY b.chunk_id) FROM provider_schedules p"
            " WHERE p.secret_path = :secret AND p.provider_batch_id = :batch"
        ),
        {"secret": secret_path, "batch": provider_batch_id, "scheduler": SCHEDULER},
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
    return list(row.chunks)


async def is_announced(
    conn: Connection, provider: str, provider_batch_id: str, result_set_id: int
) -> bool:
    """Whether a webhook of this result set is stored."""
    rows = await conn.execute(
        text(
            "SELECT FROM webhook_inbox WHERE provider = :provider AND provider_batch_id = :batch"
            " AND result_set_id = :set"
        ),
        {"provider": provider, "batch": provider_batch_id, "set": result_set_id},
    )
    return rows.first() is not None


async def chunk_of(conn: Connection, provider_batch_id: str) -> int | None:
    """Return the last chunk that a provider's batch serves; None for an unknown batch."""
    rows = await conn.execute(
        text(
            "SELECT chunk_id FROM provider_batches WHERE provider_batch_id = :id"
            " ORDER BY id DESC LIMIT 1"
        ),
        {"id": provider_batch_id},
    )
    row = rows.first()
    return int(row.chunk_id) if row else None
