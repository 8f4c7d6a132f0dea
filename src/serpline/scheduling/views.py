"""A schedule as the JSON document that commands print and programs read."""

from collections.abc import Mapping, Sequence
from typing import Any

from serpline.domain.states import ScheduleStatus
from serpline.store.schedules.schedules import ScheduleRow


def schedule_view(row: ScheduleRow, lanes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A schedule. ``next_at``: its next instant; None if it is paused, deleted or has none."""
    # Also of specifications that this release does not read any more.
    kinds = sorted({kind for spec in row.specs for kind in spec["content_types"]})
    is_active = row.status is ScheduleStatus.ACTIVE
    return {
        "id": row.id,
        "status": str(row.status),
        "version": row.version,
        "content_types": kinds,
        "next_at": row.next_at.isoformat() if row.next_at and is_active else None,
        "pause_reason": row.pause_reason,
        "paused_at": row.paused_at,
        "created_at": row.created_at,
        "changed_at": row.changed_at,
        "decided_until": row.decided_until,
        "lanes": [
            {key: value for key, value in lane.items() if key != "schedule_id"} for lane in lanes
        ],
        "specs": row.specs,
    }
