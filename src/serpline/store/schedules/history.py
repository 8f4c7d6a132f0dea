"""What slots show of a schedule: its last outcome, and how its newest slots fared."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from serpline.store.database import Connection

# The newest slots of a content type by which its health is judged.
HEALTH_SLOTS = 100

_LAST = text(
    """
    SELECT s.id AS schedule_id, t.scheduled_for, t.content_type, t.outcome, t.reason_code, t.reason,
        t.run_id, coalesce(r.status, t.run_status) AS run_status
    FROM unnest(CAST(:ids AS text[])) AS s(id)
    CROSS JOIN LATERAL (SELECT n.scheduled_for FROM schedule_slots n
        WHERE n.schedule_id = s.id ORDER BY n.scheduled_for DESC LIMIT 1) AS newest
    JOIN schedule_slots t ON t.schedule_id = s.id AND t.scheduled_for = newest.scheduled_for
    LEFT JOIN pipeline_executions r ON r.id = t.run_id
    ORDER BY s.id, t.content_type
    """
)
_HEALTH = text(
    """
    SELECT k.kind AS content_type, count(*) AS slots,
        count(*) FILTER (WHERE t.outcome = 'started') AS started,
        count(*) FILTER (WHERE t.outcome = 'backfilled') AS backfilled,
        count(*) FILTER (WHERE t.outcome = 'skipped') AS skipped,
        count(*) FILTER (WHERE t.outcome = 'missed') AS missed,
        count(*) FILTER (WHERE t.outcome = 'refused') AS refused,
        count(*) FILTER (WHERE NOT t.succeeded) AS failed,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY t.lateness) AS lateness_seconds_median,
        max(t.lateness) AS lateness_seconds_max
    FROM unnest(CAST(:kinds AS text[])) AS k(kind)
    CROSS JOIN LATERAL (SELECT n.outcome, n.succeeded,
            extract(epoch FROM n.started_at - n.scheduled_for)::float AS lateness
        FROM schedule_slots n WHERE n.schedule_id = :id AND n.content_type = k.kind
        ORDER BY n.scheduled_for DESC LIMIT :limit) AS t
    GROUP BY k.kind
    """
)


async def last_slots(
    conn: Connection, schedule_ids: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the slots at the newest decided instant of each schedule that has any."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in (await conn.execute(_LAST, {"ids": list(schedule_ids)})).mappings():
        slot = dict(row)
        found.setdefault(slot.pop("schedule_id"), []).append(slot)
    return found


async def health(
    conn: Connection, schedule_id: str, content_types: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return what the newest ``HEALTH_SLOTS`` slots of each content type show.

    ``failed``: without figures. Lateness: from the scheduled time to the start, in seconds.
    """
    values = {"id": schedule_id, "kinds": list(content_types), "limit": HEALTH_SLOTS}
    found = [dict(row) for row in (await conn.execute(_HEALTH, values)).mappings()]
    return {row.pop("content_type"): row for row in found}
