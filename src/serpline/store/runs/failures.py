"""Failed items of a run, for people: filtered, counted, in pages."""

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.store.database import Connection
from serpline.store.hash_joins import execute_hash_joined


@dataclass(frozen=True, slots=True)
class FailureFilter:
    """Which failures; None: any.

    ``provider``: the provider with whose name the error begins.
    """

    phase: str | None = None
    content_type: str | None = None
    category: str | None = None
    provider: str | None = None


# The failed items of a run; an array of lanes is one index scan for each.
_FAILED = """
    FROM pipeline_phase_status l JOIN items i ON i.lane_id = l.id
    LEFT JOIN run_keywords k ON l.phase_name IN ('keyword_metrics', 'serp_collection')
        AND k.run_id = l.pipeline_execution_id
        AND k.keyword_id = CAST(substring(i.item FROM '^[0-9]{1,18}(?=:)') AS bigint)
        AND k.market = split_part(i.item, ':', 2)
    WHERE l.pipeline_execution_id = :run AND i.lane_id = ANY(ARRAY(SELECT id
        FROM pipeline_phase_status WHERE pipeline_execution_id = :run))
    AND i.status = 'failed'
    AND (CAST(:phase AS text) IS NULL OR l.phase_name = :phase)
    AND (CAST(:content_type AS text) IS NULL OR l.content_type = :content_type)
    AND (CAST(:category AS text) IS NULL OR i.error_category = :category)
    AND (CAST(:provider AS text) IS NULL OR substring(i.error FROM '^[a-z_]+') = :provider)
"""


async def page(
    conn: Connection,
    run_id: UUID,
    chosen: FailureFilter,
    *,
    after: tuple[int, str] = (0, ""),
    limit: int,
) -> list[dict[str, Any]]:
    """Return failures in the order of lane and item, those after ``after`` (both) only.

    Each has its phase, content type, item, keyword (None: it has none), attempts, category and
    error, and ``lane_id``.
    """
    rows = await execute_hash_joined(
        conn,
        text(
            "SELECT l.id AS lane_id, l.phase_name, l.content_type, i.item, k.keyword, i.attempts,"
            f" i.error_category, i.error {_FAILED}"
            " AND (l.id, i.item) > (CAST(:lane AS bigint), CAST(:item AS text))"
            " ORDER BY l.id, i.item LIMIT :limit"
        ),
        {"run": run_id, **asdict(chosen), "lane": after[0], "item": after[1], "limit": limit},
    )
    return [dict(row) for row in rows.mappings()]


async def counts(conn: Connection, run_id: UUID, chosen: FailureFilter) -> list[dict[str, Any]]:
    """Return how many items failed, by phase, content type and category, in this order."""
    rows = await execute_hash_joined(
        conn,
        text(
            "SELECT l.phase_name, l.content_type, i.error_category, count(*) AS items,"
            f" min(i.error) AS example {_FAILED}"
            " GROUP BY l.id, i.error_category ORDER BY l.id, items DESC, i.error_category"
        ),
        {"run": run_id, **asdict(chosen)},
    )
    return [dict(row) for row in rows.mappings()]


async def latest_run(conn: Connection) -> UUID | None:
    """Return the newest run with a failed item; None: there is none."""
    rows = await conn.execute(
        text(
            "SELECT r.id FROM pipeline_executions r WHERE r.expired_at IS NULL AND EXISTS ("
            " SELECT FROM chunks c WHERE c.run_id = r.id AND c.failed > 0)"
            " ORDER BY r.created_at DESC, r.id LIMIT 1"
        )
    )
    return rows.scalar()
