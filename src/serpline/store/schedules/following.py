"""Slots whose content type has figures, or whose run has ended."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text

from serpline.domain.names import ContentType, PhaseName
from serpline.domain.states import ENDED_RUNS, SlotOutcome
from serpline.store.database import Connection
from serpline.store.schedules.slots import SlotKey


@dataclass(frozen=True, slots=True)
class FollowedSlot:
    """A slot of which something new is stored.

    ``succeeded``: whether its content type has figures; None after a cancellation.
    ``was_succeeded``: the same before. ``data_at``: when the oldest search of the figures was made;
    None without figures.
    """

    key: SlotKey
    outcome: SlotOutcome
    succeeded: bool | None
    was_succeeded: bool | None
    data_at: datetime | None


# A content type has succeeded if its figures were computed. The combined figure is of no one type.
# It may succeed long before the slower types of its run.
FOLLOWED: Final = f"""
    FROM schedule_slots o
    JOIN pipeline_executions e ON e.id = o.run_id
    LEFT JOIN pipeline_phase_status l ON l.pipeline_execution_id = e.id
        AND l.phase_name = '{PhaseName.DSI_CALCULATION}' AND l.content_type = o.content_type
    WHERE o.run_id IS NOT NULL AND o.run_status IS NULL
        AND (e.status = ANY(:ended) OR l.status = 'completed' AND o.succeeded IS NOT TRUE)"""
FOLLOWED_VALUES: Final = {"ended": [str(status) for status in ENDED_RUNS]}
# A run is locked, because a person may retry it at this moment. What others have locked is read by
# a later tick.
_FOLLOW = text(
    f"""
    WITH found AS (
        SELECT o.schedule_id, o.scheduled_for, o.content_type, o.succeeded AS was_succeeded,
            e.id AS run_id, CASE WHEN e.status = ANY(:ended) THEN e.status END AS run_status,
            e.completed_at, l.completed_at AS lane_completed_at,
            CASE WHEN l.status = 'completed' THEN true WHEN e.status <> 'cancelled' THEN
                l.status IS NULL AND e.status IN ('completed', 'completed_with_errors')
            END AS succeeded {FOLLOWED}
        ORDER BY o.scheduled_for LIMIT :limit
        FOR UPDATE OF o SKIP LOCKED FOR SHARE OF e SKIP LOCKED)
    UPDATE schedule_slots t SET run_status = found.run_status, succeeded = found.succeeded,
        run_ended_at = CASE WHEN found.run_status IS NOT NULL THEN found.completed_at END
    FROM found WHERE t.schedule_id = found.schedule_id
        AND t.scheduled_for = found.scheduled_for AND t.content_type = found.content_type
    RETURNING t.schedule_id, t.scheduled_for, t.content_type, t.outcome, t.succeeded,
        found.was_succeeded, CASE WHEN t.succeeded THEN coalesce(
            (SELECT min(p.collected_at) FROM serps p WHERE p.run_id = found.run_id
                AND p.content_type = t.content_type),
            found.lane_completed_at, found.completed_at) END
    """
)


async def follow(conn: Connection, limit: int) -> list[FollowedSlot]:
    """Store how content types and runs of slots ended, and return those slots, oldest first."""
    found = [
        FollowedSlot(SlotKey(row[0], row[1], ContentType(row[2])), SlotOutcome(row[3]), *row[4:])
        for row in await conn.execute(_FOLLOW, {**FOLLOWED_VALUES, "limit": limit})
    ]
    return sorted(found, key=lambda slot: slot.key.scheduled_for)
