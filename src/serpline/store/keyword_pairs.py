"""What imports, removals and tags of keyword × market pairs have in common."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from serpline.domain.errors import UserError
from serpline.domain.keywords import TAGS_MAX
from serpline.store.database import Connection

PAIRS = "keyword_markets km, keywords k"


async def lock_pairs(conn: Connection) -> None:
    """Wait for imports and removals in progress, until the end of the transaction.

    Two imports of the same keywords in other orders would wait for each other's rows. A removal
    would not see that a keyword gets another market, and take it from its landscapes.
    """
    await conn.execute(text("SELECT pg_advisory_xact_lock(7236, 1)"))


async def require_few_tags(conn: Connection, clause: str, values: Mapping[str, Any]) -> None:
    """Raise ``UserError`` if a pair has more tags than are allowed.

    ``clause``: which pairs, as a condition on ``PAIRS`` that joins them.
    """
    rows = await conn.execute(
        text(
            "SELECT k.keyword, km.market, cardinality(km.tags) AS tags"
            f" FROM {PAIRS} WHERE {clause} AND cardinality(km.tags) > :most LIMIT 1"
        ),
        {**values, "most": TAGS_MAX},
    )
    row = rows.first()
    if row is not None:
        raise UserError(
            f"keyword {row.keyword!r} in {row.market} would have {row.tags} tags, over {TAGS_MAX}"
        )
