"""Slots whose runs have ended."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from serpline.domain.names import ContentType, PhaseName
from serpline.domain.states import ENDED_RUNS
from serpline.store.database import Connection
from serpline.store.schedules.slots import SlotKey


@dataclass(frozen=True, slots=True)
class EndedSlot:
    """A slot whose run has ended. ``succeeded``: None after a cancellation."""

    key: SlotKey
    outcome: str
    run_status: str
    ended_at: datetime
    succeeded: bool | None


# A content type has succeeded if its figures were computed. The combined figure is of no one type.
_FOLLOW = text(
    """
    WITH ended AS (
        SELECT o.schedule_id, o.scheduled_for, o.content_type, e.status, e.completed_at,
            CASE WHEN e.status <> 'cancelled' THEN coalesce(
                l.status = 'completed', e.status IN ('completed', 'completed_with_errors'))
            END AS succeeded
        FROM schedule_slots o
        JOIN pipeline_executions e ON e.id = o.run_id
        LEFT JOIN pipeline_phase_status l ON l.pipeline_execution_id = e.id
            AND l.phase_name = :last_phase AND l.content_type = o.content_type
        WHERE o.run_id IS NOT NULL AND o.run_status IS NULL AND e.status = ANY(:ended)
        ORDER BY o.scheduled_for LIMIT :limit FOR UPDATE OF o)
    UPDATE schedule_slots t SET run_status = ended.status, run_ended_at = ended.completed_at,
        succeeded = ended.succeeded
    FROM ended WHERE t.schedule_id = ended.schedule_id
        AND t.scheduled_for = ended.scheduled_for AND t.content_type = ended.content_type
    RETURNING t.schedule_id, t.scheduled_for, t.content_type, t.outcome, t.run_status,
        t.run_ended_at, t.succeeded
    """
)


async def follow(conn: Connection, limit: int) -> list[EndedSlot]:
    """Store how the runs of slots ended, and return those slots, oldest first."""
    values = {
        "last_phase": str(PhaseName.DSI_CALCULATION),
        "ended": [str(status) for status in ENDED_RUNS],
        "limit": limit,
    }
    found = [
        EndedSlot(SlotKey(row[0], row[1], ContentType(row[2])), *row[3:])
        for row in await conn.execute(_FOLLOW, values)
    ]
    return sorted(found, key=lambda slot: slot.key.scheduled_for)
