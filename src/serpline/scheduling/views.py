"""A schedule as the JSON document that commands print and programs read."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from serpline.domain.errors import UserError
from serpline.domain.states import ScheduleStatus
from serpline.scheduling.documents import stored_specs
from serpline.scheduling.merging import preview
from serpline.scheduling.spec import ScheduleSpec
from serpline.store.schedules.provider import ProviderRow
from serpline.store.schedules.schedules import ScheduleRow

NEXT_TIMES = 3


def schedule_view(
    row: ScheduleRow, lanes: Sequence[Mapping[str, Any]], last: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A schedule. ``next_at``: its next instant; None if it is paused, deleted or has none.

    ``last``: the slots at its newest instant; empty before the first.
    """
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
        "last": [dict(slot) for slot in last],
        "lanes": [
            {key: value for key, value in lane.items() if key != "schedule_id"} for lane in lanes
        ],
        "specs": [in_order(spec) for spec in row.specs],
    }


def in_order(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a specification in the order of the documentation; the database has none."""
    return {key: spec[key] for key in [*ScheduleSpec.keys(), *spec] if key in spec}


def next_times(specs: Sequence[ScheduleSpec], after: datetime) -> list[dict[str, Any]]:
    """The next times as in ``preview``, without specifications."""
    found = preview(specs, NEXT_TIMES, after)
    return [{key: value for key, value in each.items() if key != "specs"} for each in found]


def next_times_of(row: ScheduleRow, now: datetime) -> list[dict[str, Any]]:
    """The next times of a stored schedule; none if it is deleted or cannot be read.

    Those of a paused schedule are skipped unless it is resumed.
    """
    if row.status is ScheduleStatus.DELETED:
        return []
    try:
        return next_times(stored_specs(row.specs), max(now, row.decided_until))
    except UserError:
        return []


def provider_batches(rows: Sequence[ProviderRow]) -> list[dict[str, Any]]:
    """The batches that the provider starts for a schedule, as last seen.

    ``credits``: what a start costs. ``held_by``: the budget that holds the next one back.
    """
    return [
        {
            "content_type": str(row.content_type),
            "provider_batch_id": row.provider_batch_id,
            "enabled": (row.seen or {}).get("enabled"),
            "searches": (row.seen or {}).get("searches"),
            "credits": (row.wanted or {}).get("credits"),
            "held_by": (row.wanted or {}).get("held_by"),
            "checked_at": row.seen_at,
            "error": row.error_message,
        }
        for row in rows
    ]


def with_health(
    lanes: Sequence[Mapping[str, Any]], recent: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The content types with what their newest slots show; ``recent``: None before the first."""
    return [{**lane, "recent": recent.get(lane["content_type"])} for lane in lanes]
