"""What the tail reads beside the events: whether there is anything to do, runs, levels.

A level is a state that time makes worth a notification: a breaker that is open for long, a budget
that is nearly spent.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.store.database import IDLE_LIMIT, Connection

TASK = "notifications"
_LAST_EVENT = "coalesce((SELECT max(id) FROM pipeline_events), 0)"


@dataclass(frozen=True, slots=True)
class Due:
    """What there is to do. ``send_seconds``: until a message is due; None: none waits."""

    has_events: bool
    has_levels: bool
    send_seconds: float | None


async def register(conn: Connection) -> None:
    """Begin the tail at the newest event, unless it has begun."""
    await conn.execute(
        text(
            "INSERT INTO housekeeping (task, state) VALUES (:task,"
            f" jsonb_build_object('cursor', {_LAST_EVENT})) ON CONFLICT DO NOTHING"
        ),
        {"task": TASK},
    )


async def last_event(conn: Connection) -> int:
    """Return the id of the newest event; 0 if there is none."""
    return int((await conn.execute(text(f"SELECT {_LAST_EVENT}"))).scalar_one())


async def due(conn: Connection, levels_seconds: float) -> Due:
    """Find out in one statement what there is to do. Levels are due every ``levels_seconds``."""
    rows = await conn.execute(
        text(
            f"SELECT (h.state ->> 'cursor')::bigint < {_LAST_EVENT} AS has_events,"
            " abs(extract(epoch FROM now() - coalesce((h.state ->> 'levels_at')::timestamptz,"
            " 'epoch'))) >= :levels AS has_levels,"
            " (SELECT extract(epoch FROM min(d.next_message_at) - now())::float"
            " FROM notification_destinations d WHERE EXISTS (SELECT FROM notification_deliveries p"
            " WHERE p.destination = d.name AND p.state = 'pending')) AS send_seconds"
            " FROM housekeeping h WHERE h.task = :task"
        ),
        {"task": TASK, "levels": levels_seconds},
    )
    row = rows.one()
    return Due(row.has_events, row.has_levels, row.send_seconds)


async def runs(conn: Connection, ids: Collection[UUID]) -> dict[UUID, tuple[str | None, Any]]:
    """Return the schedule and the scheduled time of runs, each None if it has none."""
    if not ids:
        return {}
    rows = await conn.execute(
        text(
            "SELECT id, config ->> 'schedule' AS schedule, scheduled_for FROM pipeline_executions"
            " WHERE id = ANY(:ids)"
        ),
        {"ids": list(ids)},
    )
    return {row.id: (row.schedule, row.scheduled_for) for row in rows}


async def named(conn: Connection, schedules: Collection[str]) -> dict[str, list[str]]:
    """Return the destinations that schedules name in their specifications (``notify``)."""
    if not schedules:
        return {}
    rows = await conn.execute(
        text(
            "SELECT s.id, jsonb_path_query_array(v.specs, '$[*].notify[*]') AS names"
            " FROM schedules s JOIN schedule_versions v ON v.schedule_id = s.id"
            " AND v.version = s.version WHERE s.id = ANY(:schedules)"
        ),
        {"schedules": sorted(schedules)},
    )
    return {row.id: row.names for row in rows if row.names}


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A breaker that has not closed since ``opened_at``; ``event_id``: of its opening."""

    name: str
    opened_at: datetime
    event_id: int


async def open_breakers(conn: Connection, before: datetime) -> list[OpenBreaker]:
    """Return the breakers that opened before a time and have not closed."""
    rows = await conn.execute(
        text(
            "SELECT b.name, e.occurred_at AS opened_at, e.id AS event_id FROM circuit_breakers b"
            " CROSS JOIN LATERAL (SELECT id, occurred_at FROM circuit_breaker_events"
            " WHERE breaker_name = b.name AND event_type = 'opened' ORDER BY id DESC LIMIT 1) e"
            " WHERE b.state IN ('open', 'half_open') AND e.occurred_at <= :before ORDER BY e.id"
        ),
        {"before": before},
    )
    return [OpenBreaker(**row) for row in rows.mappings()]


@dataclass(frozen=True, slots=True)
class EndedBreaker:
    """A breaker that people heard is open, and is not. ``state``: what it is now, None: gone."""

    name: str
    state: str | None
    event_id: int


async def ended_breakers(conn: Connection, prefix: str) -> list[EndedBreaker]:
    """Return the breakers of open incidents ``prefix`` + name that are open no more."""
    rows = await conn.execute(
        text(
            "SELECT DISTINCT substr(n.incident, length(:prefix) + 1) AS name, b.state,"
            " coalesce((SELECT max(e.id) FROM circuit_breaker_events e"
            " WHERE e.breaker_name = b.name), 0) AS event_id"
            " FROM notification_deliveries n"
            " LEFT JOIN circuit_breakers b ON b.name = substr(n.incident, length(:prefix) + 1)"
            " WHERE n.is_open AND starts_with(n.incident, :prefix)"
            " AND (b.name IS NULL OR b.state NOT IN ('open', 'half_open'))"
        ),
        {"prefix": prefix},
    )
    return [EndedBreaker(**row) for row in rows.mappings()]


@dataclass(frozen=True, slots=True)
class Crossing:
    """A budget of which ``percent`` (80 or 100) of the limit is spent, for the first time."""

    provider: str
    scope: str
    percent: int
    spent: Decimal
    limit: Decimal


_CROSSED = (
    "b.scope = ANY(:scopes) AND b.limit_credits > 0"
    " AND (b.spent >= b.limit_credits AND b.announced_percent < 100"
    " OR b.spent >= 0.8 * b.limit_credits AND b.announced_percent < 80)"
)


async def crossed_budgets(conn: Connection, scopes: Collection[str]) -> list[Crossing]:
    """Return budgets whose 80 or 100 % is spent, each once, and mark them.

    A row that a call holds is left for the next time, so no call waits for this.
    """
    values = {"scopes": list(scopes)}
    found = await conn.execute(
        text(f"SELECT EXISTS (SELECT FROM provider_budgets b WHERE {_CROSSED})"), values
    )
    if not found.scalar_one():
        return []
    rows = await conn.execute(
        text(
            "WITH crossed AS MATERIALIZED (SELECT b.provider, b.scope FROM provider_budgets b"
            f" WHERE {_CROSSED} ORDER BY b.provider, b.scope FOR UPDATE OF b SKIP LOCKED)"
            " UPDATE provider_budgets b SET announced_percent ="
            " CASE WHEN b.spent >= b.limit_credits THEN 100 ELSE 80 END FROM crossed c"
            " WHERE b.provider = c.provider AND b.scope = c.scope"
            " RETURNING b.provider, b.scope, b.announced_percent AS percent, b.spent,"
            f" b.limit_credits AS limit, {IDLE_LIMIT}"
        ),
        values,
    )
    return [
        Crossing(row.provider, row.scope, row.percent, row.spent, row.limit)
        for row in sorted(rows, key=lambda one: (one.provider, one.scope))
    ]
