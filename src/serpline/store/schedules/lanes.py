"""What is known of each content type of a schedule: its age, its failures, its pause."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text

from serpline.domain.names import ContentType
from serpline.domain.schedules import ScheduleLane
from serpline.store.database import Connection


class StaleRow(NamedTuple):
    """A content type whose data have become older than their target."""

    schedule_id: str
    content_type: str
    last_success_at: datetime | None
    fresh_until: datetime


_NAMES = list(ScheduleLane.__dataclass_fields__)


async def lock(
    conn: Connection, schedule_ids: Sequence[str]
) -> dict[tuple[str, str], ScheduleLane]:
    """Return the lanes of schedules by schedule and content type, and lock them.

    The caller has locked the schedules.
    """
    names = ", ".join(_NAMES)
    rows = await conn.execute(
        text(
            f"SELECT {names} FROM schedule_lanes WHERE schedule_id = ANY(:ids)"
            " ORDER BY schedule_id, content_type FOR UPDATE"
        ),
        {"ids": list(schedule_ids)},
    )
    found = [
        ScheduleLane(**{**row, "content_type": ContentType(row["content_type"])})
        for row in rows.mappings()
    ]
    return {(lane.schedule_id, str(lane.content_type)): lane for lane in found}


async def write(conn: Connection, changed: Sequence[ScheduleLane]) -> None:
    """Insert or replace lanes that the caller has locked."""
    if not changed:
        return
    names = ", ".join(_NAMES)
    sets = ", ".join(f"{name} = excluded.{name}" for name in _NAMES[2:])
    rows = json.dumps([asdict(lane) for lane in changed], ensure_ascii=False, default=str)
    await conn.execute(
        text(
            f"INSERT INTO schedule_lanes ({names}) SELECT {names}"
            " FROM jsonb_populate_recordset(CAST(NULL AS schedule_lanes), CAST(:rows AS jsonb))"
            f" ON CONFLICT (schedule_id, content_type) DO UPDATE SET {sets}"
        ),
        {"rows": rows},
    )


async def take_stale(conn: Connection, now: datetime, limit: int) -> list[StaleRow]:
    """Mark content types whose data have become older than their target; return them, once."""
    rows = await conn.execute(
        text(
            "WITH old AS (SELECT l.schedule_id, l.content_type FROM schedule_lanes l"
            " JOIN schedules s ON s.id = l.schedule_id AND s.status <> 'deleted'"
            " WHERE l.stale_since IS NULL AND l.fresh_until <= :now ORDER BY l.fresh_until"
            " LIMIT :limit FOR UPDATE OF l SKIP LOCKED)"
            " UPDATE schedule_lanes l SET stale_since = :now FROM old"
            " WHERE l.schedule_id = old.schedule_id AND l.content_type = old.content_type"
            " RETURNING l.schedule_id, l.content_type, l.last_success_at, l.fresh_until"
        ),
        {"now": now, "limit": limit},
    )
    return [StaleRow(*row) for row in rows]


async def set_targets(
    conn: Connection, schedule_id: str, seconds: Mapping[str, int | None], now: datetime
) -> None:
    """Store the freshness targets of a locked schedule, by content type; None: no target.

    Without a success yet, the age of the data is counted from now.
    """
    await conn.execute(
        text(
            "INSERT INTO schedule_lanes AS l (schedule_id, content_type, fresh_until)"
            " SELECT :id, t.kind, CAST(:now AS timestamptz) + make_interval(secs => t.seconds)"
            " FROM unnest(CAST(:kinds AS text[]), CAST(:seconds AS int[])) AS t(kind, seconds)"
            " ON CONFLICT (schedule_id, content_type) DO UPDATE SET fresh_until ="
            " coalesce(l.last_success_at - CAST(:now AS timestamptz), interval '0')"
            " + excluded.fresh_until, stale_since = CASE WHEN"
            " coalesce(l.last_success_at - CAST(:now AS timestamptz), interval '0')"
            " + excluded.fresh_until <= :now THEN l.stale_since END"
        ),
        {
            "id": schedule_id,
            "now": now,
            "kinds": list(seconds),
            "seconds": [seconds[kind] for kind in seconds],
        },
    )
    await conn.execute(
        text(
            "UPDATE schedule_lanes SET fresh_until = NULL, stale_since = NULL"
            " WHERE schedule_id = :id AND content_type <> ALL(:kinds)"
        ),
        {"id": schedule_id, "kinds": list(seconds)},
    )


async def resume(conn: Connection, schedule_id: str) -> list[str]:
    """Resume all content types of a locked schedule; return those that were paused."""
    rows = await conn.execute(
        text(
            "UPDATE schedule_lanes l SET paused_at = NULL, pause_reason = NULL,"
            " failures_in_row = 0 FROM (SELECT schedule_id, content_type, paused_at"
            " FROM schedule_lanes WHERE schedule_id = :id FOR UPDATE) was"
            " WHERE l.schedule_id = was.schedule_id AND l.content_type = was.content_type"
            " RETURNING l.content_type, was.paused_at IS NOT NULL AS was_paused"
        ),
        {"id": schedule_id},
    )
    return [row.content_type for row in rows if row.was_paused]


async def listed(conn: Connection, schedule_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return what is known of the content types of schedules."""
    rows = await conn.execute(
        text(
            "SELECT schedule_id, content_type, last_success_at, fresh_until, stale_since,"
            " failures_in_row, paused_at, pause_reason FROM schedule_lanes"
            " WHERE schedule_id = ANY(:ids) ORDER BY schedule_id, content_type"
        ),
        {"ids": list(schedule_ids)},
    )
    return [dict(row) for row in rows.mappings()]
