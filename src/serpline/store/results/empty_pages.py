"""The pages of a run without content: bot checks, consent walls, soft 404s and the like.

They were fetched but have no relevance. Their results count as not analysed.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.store.database import Connection


async def empty_pages(conn: Connection, run_id: UUID) -> list[dict[str, Any]]:
    """Count them by ``content_type`` and ``kind``, most pages first; ``example``: one item."""
    rows = await conn.execute(
        text(
            "SELECT content_type, empty_kind AS kind, count(DISTINCT subject) AS pages,"
            " min(subject) AS example"
            " FROM content_analyses WHERE run_id = :run AND empty_kind IS NOT NULL"
            " GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
        ),
        {"run": run_id},
    )
    return [dict(row) for row in rows.mappings()]
