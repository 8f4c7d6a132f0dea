"""Lanes that were skipped because none of their providers is set up."""

from uuid import UUID

from sqlalchemy import text

from serpline.store.database import Connection


async def skipped_for(conn: Connection, run_id: UUID) -> list[str]:
    """Return why lanes of a run were skipped, each reason once, in the order of the data flow.

    Lanes of phases that were not chosen have no reason.
    """
    rows = await conn.execute(
        text(
            "SELECT note FROM pipeline_phase_status WHERE pipeline_execution_id = :run"
            " AND status = 'skipped' AND note IS NOT NULL GROUP BY note ORDER BY min(id)"
        ),
        {"run": run_id},
    )
    return list(rows.scalars())
