"""Raw replies in the call ledger, found by the keys of their calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from serpline.store.database import Connection


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A raw reply as stored: ``body`` is zlib-compressed and holds no secret."""

    http_status: int
    headers: Mapping[str, str]
    url: str
    body: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """A key whose reply is looked up.

    ``until``: only a reply that came by then, or one to a call of run ``run_id``, which is
    preferred. None: any reply.
    """

    key: bytes
    run_id: UUID | None = None
    until: datetime | None = None


_FIND = sa.text(
    "SELECT w.no, found.* FROM unnest(CAST(:keys AS bytea[]), CAST(:runs AS uuid[]),"
    " CAST(:untils AS timestamptz[])) WITH ORDINALITY AS w(key, run_id, until, no)"
    " CROSS JOIN LATERAL (SELECT c.finished_at, r.http_status, r.headers, r.url, r.body,"
    " r.size_bytes FROM provider_calls c JOIN raw_replies r ON r.call_id = c.id"
    " WHERE c.key = w.key AND c.status = 'ok'"
    " AND (w.until IS NULL OR c.finished_at <= w.until OR c.run_id = w.run_id)"
    " ORDER BY coalesce(c.run_id = w.run_id, false) DESC, c.finished_at DESC LIMIT 1) AS found"
)


async def find_replies(
    conn: Connection, lookups: Sequence[Lookup]
) -> dict[Lookup, tuple[datetime, StoredReply]]:
    """Return the latest usable reply of each lookup that has one, and when it came."""
    wanted = list(dict.fromkeys(lookups))
    rows = await conn.execute(
        _FIND,
        {
            "keys": [each.key for each in wanted],
            "runs": [each.run_id for each in wanted],
            "untils": [each.until for each in wanted],
        },
    )
    return {
        wanted[row.no - 1]: (
            row.finished_at,
            StoredReply(row.http_status, row.headers, row.url, row.body, row.size_bytes),
        )
        for row in rows
    }
