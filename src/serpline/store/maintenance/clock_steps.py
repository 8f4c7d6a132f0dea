"""Correct stored times after the database's clock was set, or after no worker was running.

The promise: no wait is longer than its stored length, by the database's clock. A longer one was
written before the clock was set back, or by a worker that had not noticed; the next
``correct_waits`` shortens it. No deadline of a lane or batch passes while no worker runs: a gap
between two checks (all workers were down, the machine slept, or the clock was set ahead) is added
to it.

The limits: a wait that is too long by at most ``CLOCK_SKEW_SECONDS_MAX`` stays. Some waits are
corrected where they are read: items (``chunks.load``), a provider's pace (``pace_in_time``),
breakers (``domain.breaker``), a lane's deadline (``lanes.set_deadlines``). During gaps up to
``GAP_SECONDS`` workers count as running.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import text

from serpline.store.database import IDLE_LIMIT, Connection
from serpline.store.maintenance import housekeeping
from serpline.store.runs.chunks import CLOCK_SKEW_SECONDS_MAX

TIMER: Final = "timer"
# Generous maximum of the time between two checks of a worker's timer.
GAP_SECONDS: Final = 60.0
# Of several workers' checks within this time, only the first does anything.
INTERVAL_SECONDS_MIN: Final = 2.0
_UNENDED: Final = "status NOT IN ('ingested', 'lost')"

# Table → its rows with times, and per column the longest wait in seconds. 0: the time is past.
WAITS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "pipeline_executions": (
        "status IN ('pending', 'running', 'paused')",
        {"next_check_at": "CAST(:again AS float8)", "started_at": "0", "paused_at": "0"},
    ),
    "chunks": ("status = 'ready' AND next_check_at > now()", {"next_check_at": "delay_seconds"}),
    "workers": ("ended_at IS NULL", {"heartbeat_at": "0"}),
    "queued_jobs": ("true", {"next_check_at": "delay_seconds", "not_before": "delay_seconds"}),
    "provider_leases": ("true", {"expires_at": "CAST(:lease AS float8)"}),
    "provider_calls": ("status = 'intent' AND started_at > now()", {"started_at": "0"}),
    "provider_batches": (_UNENDED, {"sent_at": "0", "started_at": "0", "unannounced_at": "0"}),
    "provider_schedules": (
        "true",
        {"next_check_at": "delay_seconds", "owned_until": "1210", "sent_at": "0"},
    ),
    "housekeeping": ("true", {"next_check_at": "delay_seconds", "looked_at": "0"}),
    "notification_destinations": ("true", {"next_message_at": "delay_seconds"}),
    "procrastinate_workers": ("true", {"last_heartbeat": "0"}),
}


def _shorten(table: str) -> str:
    where, columns = WAITS[table]
    latest = {
        column: f"now() + make_interval(secs => {longest})" for column, longest in columns.items()
    }
    skew = "make_interval(secs => CAST(:skew AS float8))"
    too_far = {column: f"{column} > {limit} + {skew}" for column, limit in latest.items()}
    sets = ", ".join(
        f"{column} = CASE WHEN {too_far[column]} THEN {limit} ELSE {column} END"
        for column, limit in latest.items()
    )
    return (
        f"UPDATE {table} SET {sets} WHERE {where} AND ({' OR '.join(too_far.values())}) RETURNING 1"
    )


_SHORTEN: Final = text(
    "WITH "
    + ", ".join(f"short_{table} AS ({_shorten(table)})" for table in WAITS)
    + " SELECT "
    + ", ".join(f"(SELECT count(*) FROM short_{table}) AS {table}" for table in WAITS)
)
_EXTEND: Final = (
    text(
        "UPDATE pipeline_phase_status SET deadline_at = deadline_at + make_interval(secs => :gap)"
        " WHERE status = 'running' AND deadline_at IS NOT NULL AND pipeline_execution_id IN"
        " (SELECT id FROM pipeline_executions WHERE status IN ('pending', 'running', 'paused'))"
    ),
    text(
        "UPDATE provider_batches SET started_at = started_at + make_interval(secs => :gap)"
        f" WHERE {_UNENDED} AND started_at IS NOT NULL"
    ),
)
_REGISTER: Final = text("INSERT INTO housekeeping (task) VALUES (:task) ON CONFLICT DO NOTHING")
_LOCK: Final = text(f"SELECT {IDLE_LIMIT} FROM housekeeping WHERE task = :task FOR UPDATE")


async def correct_waits(
    conn: Connection, *, again_seconds: float, lease_seconds: float
) -> dict[str, int]:
    """Shorten waits that are too long, unless a worker just did; returns how many, by table.

    ``again_seconds``: the longest wait for a run's next check. ``lease_seconds``: the longest
    lease of concurrent calls.
    """
    held = await housekeeping.hold(conn, TIMER)
    if held is None:
        await conn.execute(_REGISTER, {"task": TIMER})
        return {}
    gap = (held.now - held.looked_at).total_seconds()
    if 0 <= gap < INTERVAL_SECONDS_MIN:
        return {}
    await _extend(conn, gap)
    values = {
        "again": again_seconds,
        "lease": lease_seconds,
        "skew": CLOCK_SKEW_SECONDS_MAX,
    }
    shortened = (await conn.execute(_SHORTEN, values)).one()
    return {table: rows for table, rows in shortened._mapping.items() if rows}


async def extend_deadlines(conn: Connection) -> None:
    """Add the time since the last check to all deadlines, if no worker ran in it."""
    await conn.execute(_LOCK, {"task": TIMER})
    held = await housekeeping.hold(conn, TIMER)
    if held is not None:
        await _extend(conn, (held.now - held.looked_at).total_seconds())


async def _extend(conn: Connection, gap: float) -> None:
    if gap > GAP_SECONDS:
        for statement in _EXTEND:
            await conn.execute(statement, {"gap": gap})
    await housekeeping.write(conn, TIMER, {}, None)
