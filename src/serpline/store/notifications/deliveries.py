"""Deliveries: what each destination is told, and whether it was."""

import json
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.store.database import Connection


async def open_incidents(
    conn: Connection, incidents: Collection[str]
) -> dict[tuple[str, str], int]:
    """Return the open deliveries of incidents: ``{(destination, incident): number}``."""
    rows = await conn.execute(
        text(
            "SELECT destination, incident, no FROM notification_deliveries"
            " WHERE is_open AND incident = ANY(:incidents)"
        ),
        {"incidents": list(incidents)},
    )
    return {(row.destination, row.incident): row.no for row in rows}


async def write(conn: Connection, ended: Sequence[int], new: Sequence[dict[str, Any]]) -> None:
    """End the incidents of stored deliveries and insert new ones, in order.

    A delivery that exists is left as it is. So is one whose destination was removed meanwhile.
    """
    if ended:
        await conn.execute(
            text("UPDATE notification_deliveries SET is_open = false WHERE no = ANY(:ended)"),
            {"ended": list(ended)},
        )
    if new:
        await conn.execute(
            text(
                "INSERT INTO notification_deliveries"
                " (id, destination, kind, incident, is_open, occurred_at, note)"
                " SELECT n.id, n.destination, n.kind, n.incident, n.is_open, n.occurred_at, n.note"
                " FROM ROWS FROM (jsonb_to_recordset(CAST(:rows AS jsonb)) AS (id uuid,"
                " destination text, kind text, incident text, is_open boolean,"
                " occurred_at timestamptz, note jsonb)) WITH ORDINALITY"
                " AS n(id, destination, kind, incident, is_open, occurred_at, note, place)"
                " JOIN notification_destinations d ON d.name = n.destination"
                " ORDER BY n.place ON CONFLICT DO NOTHING"
            ),
            {"rows": json.dumps(new, ensure_ascii=False, default=str)},
        )


async def log(
    conn: Connection, *, destination: str | None, message_id: UUID | None, limit: int
) -> list[dict[str, Any]]:
    """Return the newest deliveries, newest first."""
    rows = await conn.execute(
        text(
            "SELECT id, destination, kind, occurred_at, note, state, attempts, message_id,"
            " settled_at FROM notification_deliveries"
            " WHERE (CAST(:destination AS text) IS NULL OR destination = :destination)"
            " AND (CAST(:message AS uuid) IS NULL OR message_id = :message)"
            " ORDER BY no DESC LIMIT :limit"
        ),
        {"destination": destination, "message": message_id, "limit": limit},
    )
    return [dict(row) for row in rows.mappings()]
