"""Schedules and their versions: reads, and compare-and-set changes.

Whoever changes a schedule locks its row first. So versions follow each other, and the tick decides
no instant meanwhile.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from serpline.domain.states import SCHEDULE_MACHINE, ScheduleStatus, change
from serpline.store.database import IDLE_LIMIT, Connection


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule with the specifications of its newest version.

    ``halted``: why single content types are paused, by content type.
    """

    id: str
    version: int
    status: ScheduleStatus
    pause_reason: str | None
    paused_at: datetime | None
    decided_until: datetime
    next_at: datetime | None
    created_at: datetime
    changed_at: datetime
    specs: list[dict[str, Any]]
    halted: dict[str, str]


_COLUMNS = (
    "s.id, s.version, s.status, s.pause_reason, s.paused_at, s.decided_until, s.next_at,"
    " s.created_at, s.changed_at, v.specs,"
    " (SELECT coalesce(jsonb_object_agg(l.content_type, l.pause_reason), '{}')"
    " FROM schedule_lanes l WHERE l.schedule_id = s.id AND l.paused_at IS NOT NULL) AS halted"
)
_FROM = (
    "FROM schedules s JOIN schedule_versions v ON v.schedule_id = s.id AND v.version = s.version"
)


def _row(row: Mapping[str, Any]) -> ScheduleRow:
    known = {name: value for name, value in row.items() if name != "set_config"}
    return ScheduleRow(**{**known, "status": ScheduleStatus(row["status"])})


async def get(conn: Connection, schedule_id: str) -> ScheduleRow | None:
    """Return a schedule, deleted or not; None if there never was one of this name."""
    query = text(f"SELECT {_COLUMNS} {_FROM} WHERE s.id = :id")
    row = (await conn.execute(query, {"id": schedule_id})).mappings().first()
    return _row(dict(row)) if row else None


async def lock(conn: Connection, schedule_id: str) -> ScheduleRow | None:
    """Return a schedule like ``get``, and lock its row until the transaction ends."""
    held = text(f"SELECT {IDLE_LIMIT} FROM schedules WHERE id = :id FOR UPDATE")
    if (await conn.execute(held, {"id": schedule_id})).first() is None:
        return None
    # A second statement: it sees what the transaction that held the lock has committed.
    return await get(conn, schedule_id)


async def lock_any(conn: Connection, schedule_id: str) -> ScheduleRow:
    """Return the row that ``insert`` made or found, locked; it may have no version yet."""
    held = text(
        "SELECT id, version, status, pause_reason, paused_at, decided_until, next_at, created_at,"
        f" changed_at, '[]'::jsonb AS specs, '{{}}'::jsonb AS halted, {IDLE_LIMIT}"
        " FROM schedules WHERE id = :id FOR UPDATE"
    )
    return _row(dict((await conn.execute(held, {"id": schedule_id})).mappings().one()))


async def cursor(conn: Connection, schedule_id: str) -> datetime:
    """Return up to when a schedule is decided."""
    query = text("SELECT decided_until FROM schedules WHERE id = :id")
    found: datetime = (await conn.execute(query, {"id": schedule_id})).scalar_one()
    return found


async def lock_all(conn: Connection, schedule_ids: Sequence[str]) -> dict[str, ScheduleRow]:
    """Return schedules by name, locked in the order of their names."""
    held = text(f"SELECT {IDLE_LIMIT} FROM schedules WHERE id = ANY(:ids) ORDER BY id FOR UPDATE")
    await conn.execute(held, {"ids": list(schedule_ids)})
    query = text(f"SELECT {_COLUMNS} {_FROM} WHERE s.id = ANY(:ids)")
    rows = await conn.execute(query, {"ids": list(schedule_ids)})
    return {row["id"]: _row(dict(row)) for row in rows.mappings()}


async def lock_due(conn: Connection, now: datetime, limit: int) -> list[ScheduleRow]:
    """Return the schedules that have instants to decide, locked; those locked by others not."""
    rows = await conn.execute(
        text(
            f"SELECT {_COLUMNS}, {IDLE_LIMIT} {_FROM} WHERE s.status <> 'deleted'"
            " AND s.next_at <= :now ORDER BY s.next_at LIMIT :limit FOR UPDATE OF s SKIP LOCKED"
        ),
        {"now": now, "limit": limit},
    )
    return [_row(dict(row)) for row in rows.mappings()]


async def listed(conn: Connection, *, deleted: bool = False) -> list[ScheduleRow]:
    """Return all schedules by name; ``deleted`` ones too if asked for."""
    query = text(f"SELECT {_COLUMNS} {_FROM} WHERE :all OR s.status <> 'deleted' ORDER BY s.id")
    return [_row(dict(row)) for row in (await conn.execute(query, {"all": deleted})).mappings()]


async def versions(conn: Connection, schedule_id: str) -> list[dict[str, Any]]:
    """Return every version, oldest first: number, specifications, reason, time."""
    rows = await conn.execute(
        text(
            "SELECT version, specs, reason, created_at FROM schedule_versions"
            " WHERE schedule_id = :id ORDER BY version"
        ),
        {"id": schedule_id},
    )
    return [dict(row) for row in rows.mappings()]


async def specs_of(conn: Connection, schedule_id: str, version: int) -> list[dict[str, Any]]:
    """Return the specifications of a version."""
    rows = await conn.execute(
        text("SELECT specs FROM schedule_versions WHERE schedule_id = :id AND version = :version"),
        {"id": schedule_id, "version": version},
    )
    return list(rows.scalar_one())


async def insert(conn: Connection, schedule_id: str, now: datetime) -> bool:
    """Insert a schedule without a version, as deleted; False if its name is taken.

    ``add_version`` and ``change`` follow in the same transaction.
    """
    rows = await conn.execute(
        text(
            "INSERT INTO schedules (id, version, status, decided_until, created_at, changed_at,"
            " deleted_at) VALUES (:id, 0, 'deleted', :now, :now, :now, :now)"
            " ON CONFLICT DO NOTHING RETURNING id"
        ),
        {"id": schedule_id, "now": now},
    )
    return rows.first() is not None


async def add_version(
    conn: Connection,
    schedule_id: str,
    specs: Sequence[Mapping[str, Any]],
    now: datetime,
    *,
    reason: str | None,
) -> int:
    """Store the next version of a locked schedule and return its number."""
    rows = await conn.execute(
        text(
            "WITH changed AS (UPDATE schedules SET version = version + 1, changed_at = :now"
            " WHERE id = :id RETURNING id, version)"
            " INSERT INTO schedule_versions (schedule_id, version, specs, reason, created_at)"
            " SELECT id, version, CAST(:specs AS jsonb), :reason, :now FROM changed"
            " RETURNING version"
        ),
        {
            "id": schedule_id,
            "now": now,
            "specs": json.dumps(list(specs), ensure_ascii=False),
            "reason": reason,
        },
    )
    return int(rows.scalar_one())


async def change_status(
    conn: Connection, schedule_id: str, event: str, now: datetime, reason: str | None = None
) -> bool:
    """Compare-and-set a schedule's status; False if the event does not apply to it.

    An added schedule begins now: its earlier instants have no slots.
    """
    step = change(SCHEDULE_MACHINE, event)
    rows = await conn.execute(
        text(
            "UPDATE schedules SET status = :target, changed_at = :now,"
            " pause_reason = CASE WHEN :event = 'pause' THEN CAST(:reason AS text) END,"
            " paused_at = CASE WHEN :event = 'pause' THEN CAST(:now AS timestamptz) END,"
            " deleted_at = CASE WHEN :event = 'delete' THEN CAST(:now AS timestamptz) END,"
            " decided_until = CASE WHEN :event = 'add' THEN greatest(decided_until, :now)"
            " ELSE decided_until END WHERE id = :id AND status = ANY(:sources) RETURNING id"
        ),
        {
            "id": schedule_id,
            "event": event,
            "target": step.target,
            "sources": step.sources,
            "now": now,
            "reason": reason,
        },
    )
    return rows.first() is not None


async def move_cursors(
    conn: Connection, moved: Sequence[tuple[str, datetime, datetime | None]]
) -> None:
    """Store what is decided of locked schedules: (schedule, decided until, next instant)."""
    await conn.execute(
        text(
            "UPDATE schedules s SET decided_until = m.until, next_at = m.next_at"
            " FROM unnest(CAST(:ids AS text[]), CAST(:untils AS timestamptz[]),"
            " CAST(:nexts AS timestamptz[])) AS m(id, until, next_at) WHERE s.id = m.id"
        ),
        {
            "ids": [each[0] for each in moved],
            "untils": [each[1] for each in moved],
            "nexts": [each[2] for each in moved],
        },
    )
