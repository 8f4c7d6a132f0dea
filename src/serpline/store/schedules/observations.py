"""What the search for patterns knows about slots. It is noted once, because runs are deleted first.

A slot is observed when it is over: ``observed`` then has an object. It is empty if the slot says
nothing about its schedule: it was paused, refused, cancelled or started by hand. The count of
observed slots of a content type decides when to look for patterns again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text

from serpline.domain.schedules import SlotReason
from serpline.store.database import IDLE_LIMIT, Connection

# A start this much after its time and jitter is late.
LATE_SECONDS: Final = 300.0
# A provider answered with errors if this share of its calls failed.
_ERROR_SHARE: Final = 0.1
# Slots of a version may be older than it: those missed before.
_OLDER_DAYS: Final = 30

_ENDED: Final = (
    "observed IS NULL AND outcome <> 'due' AND (run_id IS NULL OR run_status IS NOT NULL)"
)
# Statuses of calls and batches are kept until retention deletes the run. A batch failed if it was
# lost, or delivered less than half of its searches.
_OBSERVE: Final = text(
    f"""
WITH ended AS (
    SELECT schedule_id, scheduled_for, content_type, run_id, {IDLE_LIMIT}
    FROM schedule_slots WHERE {_ENDED}
    ORDER BY scheduled_for LIMIT :limit FOR UPDATE SKIP LOCKED
), run AS (
    SELECT DISTINCT run_id AS id FROM ended WHERE run_id IS NOT NULL
), sizes AS (
    SELECT c.run_id, l.content_type, b.provider, cardinality(b.items) AS searches,
        2 * count(*) FILTER (WHERE b.status = 'lost' OR 2 * b.received < cardinality(b.items))
            >= count(*) AS failed
    FROM run JOIN chunks c ON c.run_id = run.id JOIN pipeline_phase_status l ON l.id = c.lane_id
    JOIN provider_batches b ON b.chunk_id = c.id GROUP BY 1, 2, 3, 4
), batches AS (
    SELECT run_id, content_type,
        jsonb_agg(jsonb_build_array(provider, searches, failed) ORDER BY provider, searches) AS made
    FROM sizes GROUP BY 1, 2
), troubled AS (
    SELECT c.run_id, c.provider FROM run JOIN provider_calls c ON c.run_id = run.id
    GROUP BY 1, 2
    HAVING count(*) FILTER (WHERE c.status IN ('failed', 'unknown')) >= :error_share * count(*)
), errors AS (
    SELECT run_id, jsonb_agg(provider ORDER BY provider) AS providers FROM troubled GROUP BY 1
), marked AS (
    UPDATE schedule_slots s SET observed = CASE
        WHEN s.reason_code = :triggered THEN '{{}}'
        WHEN s.outcome = 'started' AND s.succeeded IS NOT NULL THEN jsonb_build_object(
            'failed', NOT s.succeeded,
            'late', s.started_at > s.start_at + make_interval(secs => :late),
            'errors', coalesce(e.providers, '[]'), 'batches', coalesce(b.made, '[]'))
        WHEN s.outcome IN ('missed', 'backfilled') OR s.reason_code = ANY(:late_codes)
            THEN jsonb_build_object('failed', NULL, 'late', true)
        ELSE '{{}}' END
    FROM ended LEFT JOIN errors e ON e.run_id = ended.run_id
    LEFT JOIN batches b ON b.run_id = ended.run_id AND b.content_type = ended.content_type
    WHERE s.schedule_id = ended.schedule_id AND s.scheduled_for = ended.scheduled_for
    AND s.content_type = ended.content_type
    RETURNING s.schedule_id, s.content_type, s.observed
), counted AS (
    INSERT INTO schedule_lanes AS l (schedule_id, content_type, observed_slots)
    SELECT schedule_id, content_type, count(*) FROM marked WHERE observed <> '{{}}'
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (schedule_id, content_type) DO UPDATE
    SET observed_slots = l.observed_slots + excluded.observed_slots RETURNING 1
)
SELECT (SELECT count(*) FROM marked) AS slots, (SELECT count(*) FROM counted) AS lanes
"""
)
# Skipped because an earlier run took too long, or started too late for its deadline.
_LATE_CODES: Final = (SlotReason.OVERLAP, SlotReason.BUFFER_FULL, SlotReason.DEADLINE)

_DUE: Final = text(
    "SELECT l.schedule_id, l.content_type, l.observed_slots, s.version, v.created_at AS since,"
    " v.specs FROM schedule_lanes l JOIN schedules s ON s.id = l.schedule_id"
    " JOIN schedule_versions v ON v.schedule_id = s.id AND v.version = s.version"
    " WHERE l.observed_slots >= l.next_look_slots ORDER BY l.schedule_id, l.content_type"
    " LIMIT :limit"
)
_WINDOWS: Final = text(
    "SELECT w.no, s.scheduled_for, s.version, s.observed FROM unnest(CAST(:ids AS text[]),"
    " CAST(:types AS text[]), CAST(:lows AS int[]), CAST(:sinces AS timestamptz[]))"
    " WITH ORDINALITY AS w(id, content_type, low, since, no) CROSS JOIN LATERAL"
    " (SELECT t.scheduled_for, t.version, t.observed FROM schedule_slots t"
    " WHERE t.schedule_id = w.id AND t.content_type = w.content_type AND t.version >= w.low"
    " AND t.scheduled_for >= w.since - make_interval(days => :older)"
    " AND t.observed <> '{}' ORDER BY t.scheduled_for DESC LIMIT :limit) AS s"
)
_LOOKED: Final = text(
    "UPDATE schedule_lanes l SET next_look_slots = w.next FROM unnest(CAST(:ids AS text[]),"
    " CAST(:types AS text[]), CAST(:nexts AS int[])) AS w(id, content_type, next)"
    " WHERE l.schedule_id = w.id AND l.content_type = w.content_type"
)


@dataclass(frozen=True, slots=True)
class LaneToLookAt:
    """A content type of a schedule with new observations, and the schedule's newest version."""

    schedule_id: str
    content_type: str
    observed_slots: int
    version: int
    since: datetime
    specs: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Window:
    """Slots of a content type decided by version ``low`` or a later one, made at ``since``."""

    schedule_id: str
    content_type: str
    low: int
    since: datetime


@dataclass(frozen=True, slots=True)
class ObservedSlot:
    """A slot with what was observed: ``failed``, ``late``, ``errors``, ``batches``."""

    scheduled_for: datetime
    version: int
    observed: dict[str, Any]


async def observe(conn: Connection, limit: int) -> int:
    """Note what is known of up to ``limit`` slots that are over; return their number."""
    rows = await conn.execute(
        _OBSERVE,
        {
            "limit": limit,
            "late": LATE_SECONDS,
            "late_codes": [str(code) for code in _LATE_CODES],
            "error_share": _ERROR_SHARE,
            "triggered": str(SlotReason.TRIGGERED),
        },
    )
    return int(rows.one().slots)


async def to_look_at(conn: Connection, limit: int) -> list[LaneToLookAt]:
    """Return up to ``limit`` content types whose next look is due."""
    rows = await conn.execute(_DUE, {"limit": limit})
    return [LaneToLookAt(**row) for row in rows.mappings()]


async def windows(
    conn: Connection, wanted: Sequence[Window], limit: int
) -> list[list[ObservedSlot]]:
    """Return the newest ``limit`` observed slots of each window, newest first."""
    rows = await conn.execute(
        _WINDOWS,
        {
            "ids": [each.schedule_id for each in wanted],
            "types": [each.content_type for each in wanted],
            "lows": [each.low for each in wanted],
            "sinces": [each.since for each in wanted],
            "older": _OLDER_DAYS,
            "limit": limit,
        },
    )
    found: list[list[ObservedSlot]] = [[] for _ in wanted]
    for row in rows:
        found[row.no - 1].append(ObservedSlot(row.scheduled_for, row.version, row.observed))
    return found


async def looked(conn: Connection, looks: Sequence[tuple[str, str, int]]) -> None:
    """Store at how many slots the next look is due: (schedule, content type, slots)."""
    await conn.execute(
        _LOOKED,
        {
            "ids": [each[0] for each in looks],
            "types": [each[1] for each in looks],
            "nexts": [each[2] for each in looks],
        },
    )
