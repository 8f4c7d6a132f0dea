"""Waits that a clock which was set back would lengthen, and time in which nobody was there to work.

The promise: a wait never lies further ahead than it may from now on, by the database's clock. What
does was written before the clock was set back, or by a worker that had not heard of it yet; the
next ``look`` makes it as long as it may be. And no lane's or batch's time runs out while no worker
lives: what passed between two looks, be it that all workers were down, the machine slept or the
clock was set ahead, is added to it.

The limits: ``APART_SECONDS`` are never cut, for clocks are apart. Waits that are judged where they
are used are not here: items (``chunks.load``), a provider's pace (``pace_in_time``), breakers
(``domain.breaker``), a lane's deadline (``runs.set_deadlines``). Gaps up to ``GAP_SECONDS`` count
as time in which somebody lived.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import text

from serpline.store.database import IDLE_LIMIT, Connection
from serpline.store.maintenance import housekeeping
from serpline.store.runs.chunks import CLOCK_SKEW_SECONDS_MAX

TIMER: Final = "timer"
# As long as a worker's timer may take from one look to the next, with much to spare.
GAP_SECONDS: Final = 60.0
# Two workers that look at once look once.
INTERVAL_SECONDS_MIN: Final = 2.0
_UNENDED: Final = "status NOT IN ('ingested', 'lost')"

# Table → its rows that wait, and by column the longest wait from now on, in seconds. 0: it is past.
WAITS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "pipeline_executions": (
        "status IN ('pending', 'running')",
        {"next_check_at": "CAST(:again AS float8)", "started_at": "0"},
    ),
    "chunks": ("status = 'ready' AND next_check_at > now()", {"next_check_at": "delay_seconds"}),
    "workers": ("ended_at IS NULL", {"heartbeat_at": "0"}),
    "queued_jobs": ("true", {"next_check_at": "delay_seconds", "not_before": "delay_seconds"}),
    "provider_leases": ("true", {"expires_at": "CAST(:lease AS float8)"}),
    "provider_calls": ("status = 'intent' AND started_at > now()", {"started_at": "0"}),
    "provider_batches": (_UNENDED, {"sent_at": "0", "started_at": "0"}),
    "housekeeping": ("true", {"next_check_at": "delay_seconds", "looked_at": "0"}),
    "procrastinate_workers": ("true", {"last_heartbeat": "0"}),
}


def _cut(table: str) -> str:
    where, columns = WAITS[table]
    latest = {
        column: f"now() + make_interval(secs => {longest})" for column, longest in columns.items()
    }
    apart = "make_interval(secs => CAST(:skew AS float8))"
    too_far = {column: f"{column} > {limit} + {apart}" for column, limit in latest.items()}
    sets = ", ".join(
        f"{column} = CASE WHEN {too_far[column]} THEN {limit} ELSE {column} END"
        for column, limit in latest.items()
    )
    return (
        f"UPDATE {table} SET {sets} WHERE {where} AND ({' OR '.join(too_far.values())}) RETURNING 1"
    )


_CUT: Final = text(
    "WITH "
    + ", ".join(f"cut_{table} AS ({_cut(table)})" for table in WAITS)
    + " SELECT "
    + ", ".join(f"(SELECT count(*) FROM cut_{table}) AS {table}" for table in WAITS)
)
_MISSED: Final = (
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
_ENROL: Final = text("INSERT INTO housekeeping (task) VALUES (:task) ON CONFLICT DO NOTHING")
_LOCK: Final = text(f"SELECT {IDLE_LIMIT} FROM housekeeping WHERE task = :task FOR UPDATE")


async def correct_waits(
    conn: Connection, *, again_seconds: float, lease_seconds: float
) -> dict[str, int]:
    """Make waits as long as they may be, if nobody just has; how many were cut, by table.

    ``again_seconds``: the longest wait of a run's next look; ``lease_seconds``: of a lease of
    concurrent calls.
    """
    held = await housekeeping.hold(conn, TIMER)
    if held is None:
        await conn.execute(_ENROL, {"task": TIMER})
        return {}
    gap = (held.now - held.looked_at).total_seconds()
    if 0 <= gap < INTERVAL_SECONDS_MIN:
        return {}
    await _add(conn, gap)
    values = {
        "again": again_seconds,
        "lease": lease_seconds,
        "skew": CLOCK_SKEW_SECONDS_MAX,
    }
    cut = (await conn.execute(_CUT, values)).one()
    return {table: rows for table, rows in cut._mapping.items() if rows}


async def extend_deadlines(conn: Connection) -> None:
    """Add what passed since the last look, if nobody lived in it: before a deadline is judged."""
    await conn.execute(_LOCK, {"task": TIMER})
    held = await housekeeping.hold(conn, TIMER)
    if held is not None:
        await _add(conn, (held.now - held.looked_at).total_seconds())


async def _add(conn: Connection, gap: float) -> None:
    if gap > GAP_SECONDS:
        for statement in _MISSED:
            await conn.execute(statement, {"gap": gap})
    await housekeeping.write(conn, TIMER, {}, None)
