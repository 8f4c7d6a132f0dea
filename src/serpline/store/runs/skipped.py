"""Lanes that did not complete: skipped without a provider, failed, or not chosen."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import text

from serpline.domain.names import ContentType, PhaseName
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


async def unfinished_phases(
    conn: Connection, sources: Mapping[str, UUID], content_type: ContentType
) -> set[PhaseName]:
    """Return the phases that did not complete for a content type.

    ``sources``: by phase, the run whose results are read (``runs.source_runs``).
    """
    rows = await conn.execute(
        text(
            "SELECT l.phase_name FROM pipeline_phase_status l"
            " JOIN unnest(CAST(:phases AS text[]), CAST(:runs AS uuid[])) AS s(phase, run)"
            " ON l.pipeline_execution_id = s.run AND l.phase_name = s.phase"
            " WHERE l.content_type IN (:type, :all) AND l.status <> 'completed'"
        ),
        {
            "phases": list(sources),
            "runs": list(sources.values()),
            "type": content_type,
            "all": ContentType.ALL,
        },
    )
    return {PhaseName(row.phase_name) for row in rows}
