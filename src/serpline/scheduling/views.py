"""A schedule as the JSON document that commands print and programs read."""

from collections.abc import Mapping, Sequence
from typing import Any

from serpline.domain.errors import UserError
from serpline.domain.states import ScheduleStatus
from serpline.scheduling.deciding import read_specs
from serpline.scheduling.health import content_types_of
from serpline.store.schedules.schedules import ScheduleRow


def schedule_view(row: ScheduleRow, lanes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A schedule. ``next_at``: its next instant; None if it is paused, deleted or has none."""
    try:
        kinds = [str(kind) for kind in sorted(content_types_of(read_specs(row)))]
        error = None
    except UserError as found:
        kinds, error = [], str(found)
    is_active = row.status is ScheduleStatus.ACTIVE
    return {
        "id": row.id,
        "status": str(row.status),
        "version": row.version,
        "content_types": kinds,
        "next_at": row.next_at.isoformat() if row.next_at and is_active else None,
        "pause_reason": row.pause_reason,
        "paused_at": row.paused_at,
        "error": error,
        "created_at": row.created_at,
        "changed_at": row.changed_at,
        "decided_until": row.decided_until,
        "lanes": [
            {key: value for key, value in lane.items() if key != "schedule_id"} for lane in lanes
        ],
        "specs": row.specs,
    }
