"""The searches a run planned and those it collected, always read together.

Planned: every keyword × market × device × content type of the run whose search results are read
(``runs.source_runs``). Both sets are kept as long as results. Items are pruned, so they are not
read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import text

from serpline.domain.names import SEARCHED_TYPES
from serpline.store.database import Connection
from serpline.store.hash_joins import execute_hash_joined
from serpline.store.runs.runs import source_runs

# Every planned search, without a join: keyword_id, market, keyword, device and content_type, which
# is each of the parameter ``types``.
PLANNED = """
    SELECT k.*, unnest(CAST(:types AS text[])) AS content_type FROM (
        SELECT keyword_id, market, keyword, jsonb_array_elements_text((
            SELECT coalesce(config -> 'devices', '["desktop"]') FROM pipeline_executions
            WHERE id = :serp_collection)) AS device
        FROM run_keywords WHERE run_id = :serp_collection
    ) k
"""


@dataclass(frozen=True, slots=True)
class Collection:
    """The searches of one content type, market and device.

    ``collected_on``: the day (UTC) of the last one; None if none was collected.
    """

    content_type: str
    market: str
    device: str
    planned: int
    collected: int
    collected_on: date | None


async def collection(
    conn: Connection, run_id: UUID, content_type: str | None = None
) -> list[Collection]:
    """Return the collections that a run reads, of all content types or of one.

    Empty for a run without searches.
    """
    sources = await source_runs(conn, run_id)
    types = [kind for kind in await searched_types(conn, run_id) if content_type in (None, kind)]
    rows = await execute_hash_joined(
        conn,
        text(
            f"""
            SELECT k.content_type, k.market, k.device, count(*) AS planned,
                count(p.run_id) AS collected,
                (max(p.collected_at) AT TIME ZONE 'UTC')::date AS collected_on
            FROM ({PLANNED}) k LEFT JOIN serps p ON p.run_id = :serp_collection
                AND p.content_type = k.content_type AND p.keyword_id = k.keyword_id
                AND p.market = k.market AND p.device = k.device
            GROUP BY 1, 2, 3 ORDER BY array_position(CAST(:types AS text[]), k.content_type), 2, 3
            """
        ),
        {**sources, "types": types},
    )
    return [Collection(**row) for row in rows.mappings()]


async def late_for(conn: Connection, run_id: UUID) -> datetime | None:
    """Return the slot for which the searches that a run reads were made late; None: not late."""
    rows = await conn.execute(
        text(
            "SELECT r.scheduled_for FROM pipeline_phase_status l"
            " JOIN pipeline_executions r ON r.id = l.source_run_id"
            " WHERE l.pipeline_execution_id = :run AND l.phase_name = 'serp_collection'"
            " AND 'true' IN (r.config #>> '{backfill,is_late}',"
            " CAST(r.config #>> '{backfill,kind}' = 'late' AS text)) LIMIT 1"
        ),
        {"run": run_id},
    )
    return rows.scalar()


async def collected_at(
    conn: Connection,
    run_id: UUID,
    content_type: str,
    searches: Sequence[tuple[int, str, str]],
) -> dict[tuple[int, str, str], datetime]:
    """Return when a run collected these searches (keyword id, market, device), if it did."""
    rows = await conn.execute(
        text(
            "SELECT keyword_id, market, device, collected_at FROM serps WHERE run_id = :run"
            " AND content_type = :type AND keyword_id = ANY(:ids)"
        ),
        {"run": run_id, "type": str(content_type), "ids": sorted({each[0] for each in searches})},
    )
    wanted = set(searches)
    found = {(row.keyword_id, row.market, row.device): row.collected_at for row in rows}
    return {key: at for key, at in found.items() if key in wanted}


async def searched_types(conn: Connection, run_id: UUID) -> list[str]:
    """Return the content types that a run searches, or whose searches it reads."""
    rows = await conn.execute(
        text(
            "SELECT content_type FROM pipeline_phase_status WHERE pipeline_execution_id = :run"
            " AND phase_name = 'serp_collection'"
            " AND (status <> 'skipped' OR source_run_id <> :run)"
        ),
        {"run": run_id},
    )
    found = {row.content_type for row in rows}
    return [str(kind) for kind in SEARCHED_TYPES if kind in found]
