"""Reports over whole runs: the latest run, its spending, live workers.

Read only. Nothing here counts items. An index serves the counts of a run's ledger rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from serpline.store.database import Connection
from serpline.store.hash_joins import execute_hash_joined
from serpline.store.runs import workers


@dataclass(frozen=True, slots=True)
class Spending:
    """Calls of one phase and content type to one provider, and their credits (its own unit).

    ``answered``: those with a usable reply.
    """

    phase: str
    content_type: str
    provider: str
    calls: int
    answered: int
    credits: float


async def spending(conn: Connection, run_id: UUID) -> list[Spending]:
    """Return a run's spending so far, without calls in flight, in the order of the data flow."""
    rows = await execute_hash_joined(
        conn,
        text(
            "SELECT l.phase_name, l.content_type, p.provider, count(*) AS calls,"
            " count(*) FILTER (WHERE p.status = 'ok') AS answered,"
            " sum(p.credits)::float AS credits FROM provider_calls p"
            " JOIN chunks c ON c.id = p.chunk_id"
            " JOIN pipeline_phase_status l ON l.id = c.lane_id"
            " WHERE p.run_id = :run AND c.run_id = :run AND l.pipeline_execution_id = :run"
            " AND p.status <> 'intent'"
            " GROUP BY l.id, p.provider ORDER BY l.id, p.provider"
        ),
        {"run": run_id},
    )
    return [
        Spending(
            row.phase_name, row.content_type, row.provider, row.calls, row.answered, row.credits
        )
        for row in rows
    ]


async def latest_run(
    conn: Connection, *, scored: bool = False, statuses: Sequence[str] | None = None
) -> UUID | None:
    """Return the newest run; ``scored``: that has DSI figures; ``statuses``: in one of these."""
    rows = await conn.execute(
        text(
            "SELECT r.id FROM pipeline_executions r"
            " WHERE r.expired_at IS NULL"
            " AND (NOT :scored OR EXISTS (SELECT 1 FROM dsi_scores d WHERE d.run_id = r.id))"
            " AND (CAST(:statuses AS text[]) IS NULL OR r.status = ANY(:statuses))"
            " ORDER BY r.created_at DESC, r.id LIMIT 1"
        ),
        {"scored": scored, "statuses": None if statuses is None else list(statuses)},
    )
    row = rows.first()
    return row.id if row else None


async def runs_starting_with(conn: Connection, prefix: str, limit: int = 2) -> list[UUID]:
    """Return the ids of runs that start with ``prefix`` (hexadecimal digits and dashes only)."""
    rows = await conn.execute(
        text(
            "SELECT id FROM pipeline_executions WHERE starts_with(id::text, :p)"
            " AND expired_at IS NULL LIMIT :limit"
        ),
        {"p": prefix, "limit": limit},
    )
    return [row.id for row in rows]


async def workers_alive(conn: Connection) -> int:
    """Count the workers that are running."""
    rows = await conn.execute(text(f"SELECT count(*) FROM workers w WHERE {workers.IS_ALIVE}"))
    return int(rows.scalar_one())


async def has_schema(conn: Connection) -> bool:
    """Whether the database has this program's tables."""
    rows = await conn.execute(text("SELECT to_regclass('workers') IS NOT NULL"))
    return bool(rows.scalar_one())


async def has_project(conn: Connection) -> bool:
    """Whether the database has keywords or runs."""
    rows = await conn.execute(
        text(
            "SELECT EXISTS (SELECT 1 FROM keywords)"
            " OR EXISTS (SELECT 1 FROM pipeline_executions) AS used"
        )
    )
    return bool(rows.scalar_one())


async def server_version(conn: Connection) -> str:
    """Return PostgreSQL's version, such as ``18.1``."""
    rows = await conn.execute(text("SELECT split_part(current_setting('server_version'), ' ', 1)"))
    return str(rows.scalar_one())
