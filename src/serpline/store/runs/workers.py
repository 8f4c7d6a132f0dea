"""Workers, their heartbeats and locks, and the runs and chunks that are due.

A worker is alive while its heartbeat is fresh or its session holds the advisory lock of its id.
Both must be gone before its chunks are taken over. All times are the database's.
"""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import text

from serpline.domain.providers import SET_UP
from serpline.domain.states import LIVE_ITEMS
from serpline.store.database import IDLE_LIMIT, Connection

_LOCK_CLASS = 7_235  # the first key of every worker's two-key advisory lock

IS_ALIVE: Final = (
    "w.ended_at IS NULL AND (w.heartbeat_at > now() - interval '20 s' OR EXISTS (SELECT"
    " FROM pg_locks k WHERE k.locktype = 'advisory' AND k.granted AND k.objsubid = 2"
    f" AND k.classid = {_LOCK_CLASS} AND CAST(k.objid AS bigint) = w.id % 2147483648"
    " AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())))"
)
"""The condition for a running worker ``w``. Settings may make its heartbeats rarer than 20 s."""

# Every session of a ``Database`` has its unique name. Our own sessions are not ended, because one
# process may have several workers. Nor are those of a role that we may not end.
_END_SESSIONS = text(
    "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a JOIN workers w"
    " ON a.application_name = w.application_name"
    " WHERE w.id = ANY(:ids) AND a.datname = current_database()"
    " AND w.application_name <> current_setting('application_name')"
    " AND pg_has_role(a.usesysid, 'USAGE')"
)


async def register(
    conn: Connection, host: str, pid: int, providers: Collection[str] = tuple(SET_UP)
) -> int:
    """Insert a worker that can call ``providers``; returns its id."""
    rows = await conn.execute(
        text(
            "INSERT INTO workers (host, pid, providers) VALUES (:host, :pid, :providers)"
            " RETURNING id"
        ),
        {"host": host, "pid": pid, "providers": sorted(providers)},
    )
    return int(rows.scalar_one())


async def available_providers(conn: Connection) -> frozenset[str] | None:
    """Return the providers that at least one worker can call; None if there is no worker.

    A worker counts until it has ended or was declared dead, however old its heartbeat is: after a
    suspension of the machine all of them are old.
    """
    rows = await conn.execute(
        text("SELECT unnest(array_append(providers, '')) FROM workers WHERE ended_at IS NULL")
    )
    found = set(rows.scalars())
    return frozenset(found - {""}) if found else None


async def recent_providers(conn: Connection, seconds: float) -> frozenset[str]:
    """Return the providers of workers that ended in the last ``seconds``."""
    rows = await conn.execute(
        text(
            "SELECT DISTINCT unnest(providers) FROM workers"
            " WHERE ended_at BETWEEN now() - make_interval(secs => :s) AND now()"
        ),
        {"s": seconds},
    )
    return frozenset(rows.scalars())


async def hold_lock(conn: Connection, worker_id: int) -> bool:
    """Take the worker's lock for this session; False if another session holds it."""
    rows = await conn.execute(
        text("SELECT pg_try_advisory_lock(:class, :id)"),
        {"class": _LOCK_CLASS, "id": worker_id % 2**31},
    )
    return bool(rows.scalar_one())


async def set_idle_timeout(conn: Connection, seconds: float) -> None:
    """Have the server end this session, and free its locks, after ``seconds`` of silence.

    A frozen process keeps its connections open. Without this limit it would keep its lock for ever.
    """
    await conn.execute(
        text("SELECT set_config('idle_session_timeout', :ms, false)"),
        {"ms": str(max(1, round(seconds * 1000)))},
    )


async def beat(conn: Connection, worker_id: int) -> dict[tuple[int, int], bool] | None:
    """Write a heartbeat; returns the worker's chunks: ``{(id, epoch): is its run running}``.

    None if the worker was declared dead and must stop.
    """
    rows = await conn.execute(
        text(
            "WITH beaten AS (UPDATE workers SET heartbeat_at = now()"
            " WHERE id = :id AND ended_at IS NULL RETURNING id)"
            " SELECT c.id, c.epoch, r.status = 'running' AS is_running FROM beaten"
            " LEFT JOIN chunks c ON c.owner = beaten.id AND c.status = 'owned'"
            " LEFT JOIN pipeline_executions r ON r.id = c.run_id"
        ),
        {"id": worker_id},
    )
    found = rows.all()
    if not found:
        return None
    return {(row.id, row.epoch): row.is_running for row in found if row.id is not None}


async def leave(conn: Connection, worker_id: int) -> list[int]:
    """End a worker in good order and make its chunks ready; returns their ids."""
    return await _end(conn, worker_id, died=False)


async def _end(conn: Connection, worker_id: int, *, died: bool) -> list[int]:
    ended = await conn.execute(
        text(
            "UPDATE workers SET ended_at = now(), died = :died WHERE id = :id"
            " AND ended_at IS NULL RETURNING id"
        ),
        {"id": worker_id, "died": died},
    )
    if ended.first() is None:
        return []
    if died:
        await _count_item_deaths(conn, worker_id)
    rows = await conn.execute(
        text(
            "UPDATE chunks SET status = 'ready', owner = NULL, epoch = epoch + 1,"
            " deaths = deaths + :death, next_check_at = now()"
            " WHERE owner = :id AND status = 'owned' RETURNING id"
        ),
        {"id": worker_id, "death": int(died)},
    )
    return [row.id for row in rows]


async def _count_item_deaths(conn: Connection, worker_id: int) -> None:
    """Count the death for the items the worker had marked, if it owned no other chunk."""
    await conn.execute(
        text(
            "UPDATE items i SET deaths = i.deaths + 1 FROM chunks c"
            " WHERE c.owner = :id AND c.status = 'owned' AND i.lane_id = c.lane_id"
            " AND i.chunk_no = c.no AND i.item = ANY(c.in_flight) AND i.status = ANY(:live)"
            " AND NOT EXISTS (SELECT 1 FROM chunks o WHERE o.owner = :id AND o.status = 'owned'"
            " AND o.id <> c.id)"
        ),
        {"id": worker_id, "live": [str(status) for status in LIVE_ITEMS]},
    )


async def take_over_dead(conn: Connection, dead_after_seconds: float) -> dict[int, list[int]]:
    """End dead workers and make their chunks ready: ``{worker id: chunk ids}``.

    A worker is dead if its heartbeat is old *and* its lock is free. The lock is tried at
    transaction level, so the test never keeps a running worker from taking it back.

    The dead workers' sessions are ended first. One that froze in the middle of a message holds row
    locks without being idle, and no timeout of the server would free them.
    """
    rows = await conn.execute(
        text(
            "WITH silent AS MATERIALIZED (SELECT id FROM workers WHERE ended_at IS NULL"
            " AND heartbeat_at < now() - make_interval(secs => :s) FOR UPDATE SKIP LOCKED)"
            f" SELECT id, {IDLE_LIMIT} FROM silent"
            " WHERE pg_try_advisory_xact_lock(:class, CAST(id % 2147483648 AS int))"
        ),
        {"s": dead_after_seconds, "class": _LOCK_CLASS},
    )
    found = [row.id for row in rows.all()]
    if found:
        await conn.execute(_END_SESSIONS, {"ids": found})
    dead = {worker_id: await _end(conn, worker_id, died=True) for worker_id in found}
    for worker_id, chunk_id in await _release_orphaned(conn):
        dead.setdefault(worker_id, []).append(chunk_id)
    return dead


async def has_dead(conn: Connection, dead_after_seconds: float) -> bool:
    """Whether ``take_over_dead`` may find something: a silent worker or an orphaned chunk."""
    rows = await conn.execute(
        text(
            "SELECT EXISTS (SELECT FROM workers WHERE ended_at IS NULL"
            " AND heartbeat_at < now() - make_interval(secs => :s))"
            " OR EXISTS (SELECT FROM chunks c JOIN workers w ON w.id = c.owner"
            " WHERE c.status = 'owned' AND w.ended_at IS NOT NULL)"
        ),
        {"s": dead_after_seconds},
    )
    return bool(rows.scalar_one())


async def _release_orphaned(conn: Connection) -> list[tuple[int, int]]:
    """Make ready the chunks of ended workers, which were claimed just as the worker ended."""
    rows = await conn.execute(
        text(
            "WITH orphaned AS (SELECT c.id, c.owner FROM chunks c JOIN workers w ON w.id = c.owner"
            " WHERE c.status = 'owned' AND w.ended_at IS NOT NULL FOR UPDATE OF c SKIP LOCKED)"
            " UPDATE chunks c SET status = 'ready', owner = NULL, epoch = c.epoch + 1,"
            " next_check_at = now() FROM orphaned o WHERE c.id = o.id RETURNING o.owner, c.id"
        )
    )
    return [(row.owner, row.id) for row in rows]


async def due_runs(conn: Connection, again_seconds: float, limit: int) -> list[UUID]:
    """Return the runs that are due, and set their next check.

    The next check is ``again_seconds`` from now: if the wake-up is lost, the timer issues it again.
    """
    rows = await conn.execute(
        text(
            f"""
            UPDATE pipeline_executions SET next_check_at = now() + make_interval(secs => :again)
            WHERE id IN (SELECT id FROM pipeline_executions WHERE next_check_at <= now()
                AND status IN ('pending', 'running') ORDER BY next_check_at LIMIT :limit
                FOR UPDATE SKIP LOCKED)
            RETURNING id, {IDLE_LIMIT}
            """
        ),
        {"again": again_seconds, "limit": limit},
    )
    return [row.id for row in rows]


async def due_chunks(conn: Connection, again_seconds: float, limit: int) -> list[tuple[int, int]]:
    """Return the ready chunks that are due, with their lane's priority; as ``due_runs``."""
    rows = await conn.execute(
        text(
            f"""
            UPDATE chunks c SET next_check_at = now() + make_interval(secs => :again),
                delay_seconds = :again, wait_cause = nullif(wait_cause, 'retry')
            FROM pipeline_phase_status l WHERE l.id = c.lane_id AND c.id IN (
                SELECT c2.id FROM chunks c2 JOIN pipeline_executions r2 ON r2.id = c2.run_id
                WHERE c2.status = 'ready' AND c2.next_check_at <= now() AND r2.status = 'running'
                ORDER BY c2.next_check_at LIMIT :limit FOR UPDATE OF c2 SKIP LOCKED)
            RETURNING c.id, l.priority, {IDLE_LIMIT}
            """
        ),
        {"again": again_seconds, "limit": limit},
    )
    return [(row.id, row.priority) for row in rows]


async def seconds_to_next_check(conn: Connection) -> float | None:
    """Seconds until anything is due; negative if something is; None if nothing waits."""
    rows = await conn.execute(
        text(
            """
            SELECT extract(epoch FROM least(
                (SELECT min(next_check_at) FROM pipeline_executions
                 WHERE status IN ('pending', 'running')),
                (SELECT min(c.next_check_at) FROM chunks c
                 JOIN pipeline_executions r ON r.id = c.run_id
                 WHERE c.status = 'ready' AND r.status = 'running'),
                (SELECT min(next_check_at) FROM housekeeping)) - now())
            """
        )
    )
    seconds = rows.scalar_one()
    return None if seconds is None else float(seconds)
