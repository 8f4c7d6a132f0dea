"""Webhooks of provider batches: find the batch of a path, and store the webhook."""

from sqlalchemy import text

from serpline.store.database import Connection


async def is_awaited(conn: Connection, secret_path: str) -> bool:
    """Whether the path belongs to a batch."""
    rows = await conn.execute(
        text("SELECT FROM provider_batches WHERE secret_path = :secret"), {"secret": secret_path}
    )
    return rows.first() is not None


async def record_webhook(
    conn: Connection,
    secret_path: str,
    provider_batch_id: str,
    result_set_id: int,
    body: str,
) -> int | None:
    """Store a webhook for the batch of this secret path.

    ``body``: a JSON text. Returns the chunk's id. Stores nothing and returns None if no batch has
    this path and provider id. A repeated webhook is stored once; waking twice is harmless.
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
    """Return the chunk that a provider's batch serves; None for an unknown batch."""
    rows = await conn.execute(
        text("SELECT chunk_id FROM provider_batches WHERE provider_batch_id = :id"),
        {"id": provider_batch_id},
    )
    row = rows.first()
    return int(row.chunk_id) if row else None
