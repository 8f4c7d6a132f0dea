"""All lanes of a run at once: deadlines, cancellation, reports. ``runs`` changes single lanes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.domain.states import LANE_MACHINE, change
from serpline.store.database import Connection


async def set_deadlines(
    conn: Connection, run_id: UUID, by_type: Mapping[str, datetime], *, replace: bool
) -> None:
    """Set the deadline of a run's running lanes without one; with ``replace``, of all.

    ``by_type``: the deadline of each content type. A later one is replaced too: it was set before
    the clock was set back.
    """
    await conn.execute(
        text(
            "UPDATE pipeline_phase_status l SET deadline_at = given.at"
            " FROM unnest(CAST(:types AS text[]), CAST(:times AS timestamptz[]))"
            " AS given (content_type, at)"
            " WHERE pipeline_execution_id = :run AND l.content_type = given.content_type"
            " AND status = 'running'"
            " AND (:replace OR deadline_at IS NULL OR deadline_at > given.at)"
        ),
        {
            "run": run_id,
            "types": list(by_type),
            "times": list(by_type.values()),
            "replace": replace,
        },
    )


async def cancel(conn: Connection, run_id: UUID, now: datetime) -> None:
    """Cancel the lanes of a run that have not ended."""
    step = change(LANE_MACHINE, "cancel")
    await conn.execute(
        text(
            "UPDATE pipeline_phase_status SET status = :target, completed_at = :now,"
            " deadline_at = NULL WHERE pipeline_execution_id = :run AND status = ANY(:sources)"
        ),
        {"run": run_id, "target": step.target, "sources": step.sources, "now": now},
    )


async def reports(conn: Connection, run_id: UUID) -> list[dict[str, Any]]:
    """Return each lane's error or note, times and retries, in the order of the flow."""
    rows = await conn.execute(
        text(
            "SELECT phase_name, content_type, status, error_message, note, retry_count,"
            " source_run_id, started_at, completed_at FROM pipeline_phase_status"
            " WHERE pipeline_execution_id = :run ORDER BY id"
        ),
        {"run": run_id},
    )
    return [dict(row) for row in rows.mappings()]
