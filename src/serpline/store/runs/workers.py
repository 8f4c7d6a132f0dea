"""Workers, their heartbeats and locks, and what the timer finds due.

A worker lives while its heartbeat is fresh or its session holds the advisory lock of its id: both
must be gone before its chunks are taken over. All times here are the database's.
"""

from uuid import UUID

from sqlalchemy import text

from serpline.domain.states import LIVE_ITEMS
from serpline.store.database import BRIEFLY, Connection

_LOCK_CLASS = 7_235  # the first key of every worker's two-key advisory lock
# Every session of a ``Database`` bears its unique name. Our own are spared: one process may
# have several workers. So are those of a role that we may not end.
_END_SESSIONS = text(
    "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a JOIN workers w"
    " ON a.application_name = w.application_name"
    " WHERE w.id = ANY(:ids) AND a.datname = current_database()"
    " AND w.application_name <> current_setting('application_name')"
    " AND pg_has_role(a.usesysid, 'USAGE')"
)


async def register(conn: Connection, host: str, pid: int) -> int:
    """A new worker's id."""
    rows = await conn.execute(
        text("INSERT INTO workers (host, pid) VALUES (:host, :pid) RETURNING id"),
        {"host": host, "pid": pid},
    )
    return int(rows.scalar_one())


async def hold_lock(conn: Connection, worker_id: int) -> bool:
    """Take the worker's lock for this session; False if another session holds it."""
    rows = await conn.execute(
        text("SELECT pg_try_advisory_lock(:class, :id)"),
        {"class": _LOCK_CLASS, "id": worker_id % 2**31},
    )
    return bool(rows.scalar_one())


async def limit_silence(conn: Connection, seconds: float) -> None:
    """Have the server end this session, and free what it locks, once it is silent for so long.

    A frozen process keeps its connections open; without this it would keep its lock for ever.
    """
    await conn.execute(
        text("SELECT set_config('idle_session_timeout', :ms, false)"),
        {"ms": str(max(1, round(seconds * 1000)))},
    )


async def beat(conn: Connection, worker_id: int) -> dict[tuple[int, int], bool] | None:
    """Say "alive"; the (id, epoch) of the worker's chunks, and whether their runs are running.

    None if the worker was declared dead and must stop.
    """
    rows = await conn.execute(
        text(
            "WITH beaten AS (UPDATE workers SET heartbeat_at = now()"
            " WHERE id = :id AND ended_at IS NULL RETURNING id)"
            " SELECT c.id, c.epoch, r.status = 'running' AS wanted FROM beaten"
            " LEFT JOIN chunks c ON c.owner = beaten.id AND c.status = 'owned'"
            " LEFT JOIN pipeline_executions r ON r.id = c.run_id"
        ),
        {"id": worker_id},
    )
    found = rows.all()
    if not found:
        return None
    return {(row.id, row.epoch): row.wanted for row in found if row.id is not None}


async def leave(conn: Connection, worker_id: int) -> list[int]:
    """End a worker in good order; its chunks (their ids are returned) are ready at once."""
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
        await _blame(conn, worker_id)
    rows = await conn.execute(
        text(
            "UPDATE chunks SET status = 'ready', owner = NULL, epoch = epoch + 1,"
            " deaths = deaths + :death, next_look_at = now()"
            " WHERE owner = :id AND status = 'owned' RETURNING id"
        ),
        {"id": worker_id, "death": int(died)},
    )
    return [row.id for row in rows]


async def _blame(conn: Connection, worker_id: int) -> None:
    """Count the death for the items it had marked, if it had nothing else in hand."""
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
    """Declare the dead dead: ``{worker id: ids of its chunks, ready again}``.

    Dead is who has an old heartbeat *and* a free lock. The lock is tried at transaction level, so
    that trying it can never keep a living worker from taking it back.

    Their sessions are ended first: one that is frozen in the middle of a message holds its row
    locks without being idle, and no limit of the server's would ever free them.
    """
    rows = await conn.execute(
        text(
            "WITH silent AS MATERIALIZED (SELECT id FROM workers WHERE ended_at IS NULL"
            " AND heartbeat_at < now() - make_interval(secs => :s) FOR UPDATE SKIP LOCKED)"
            f" SELECT id, {BRIEFLY} FROM silent"
            " WHERE pg_try_advisory_xact_lock(:class, CAST(id % 2147483648 AS int))"
        ),
        {"s": dead_after_seconds, "class": _LOCK_CLASS},
    )
    found = [row.id for row in rows.all()]
    if found:
        await conn.execute(_END_SESSIONS, {"ids": found})
    dead = {worker_id: await _end(conn, worker_id, died=True) for worker_id in found}
    for worker_id, chunk_id in await _left_behind(conn):
        dead.setdefault(worker_id, []).append(chunk_id)
    return dead


async def has_dead(conn: Connection, dead_after_seconds: float) -> bool:
    """Whether ``take_over_dead`` may find something: a silent worker, or what one left behind."""
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


async def _left_behind(conn: Connection) -> list[tuple[int, int]]:
    """Chunks of workers that ended already: claimed in the instant in which they did."""
    rows = await conn.execute(
        text(
            "WITH astray AS (SELECT c.id, c.owner FROM chunks c JOIN workers w ON w.id = c.owner"
            " WHERE c.status = 'owned' AND w.ended_at IS NOT NULL FOR UPDATE OF c SKIP LOCKED)"
            " UPDATE chunks c SET status = 'ready', owner = NULL, epoch = c.epoch + 1,"
            " next_look_at = now() FROM astray a WHERE c.id = a.id RETURNING a.owner, c.id"
        )
    )
    return [(row.owner, row.id) for row in rows]


async def due_runs(conn: Connection, again_seconds: float, limit: int) -> list[tuple[UUID, int]]:
    """Runs whose look is due, with their priority; their next look is set ``again_seconds`` on.

    That is the sweep: if the wake-up is lost, the timer comes back to it.
    """
    rows = await conn.execute(
        text(
            f"""
            UPDATE pipeline_executions SET next_look_at = now() + make_interval(secs => :again)
            WHERE id IN (SELECT id FROM pipeline_executions WHERE next_look_at <= now()
                AND status IN ('pending', 'running') ORDER BY next_look_at LIMIT :limit
                FOR UPDATE SKIP LOCKED)
            RETURNING id, priority, {BRIEFLY}
            """
        ),
        {"again": again_seconds, "limit": limit},
    )
    return [(row.id, row.priority) for row in rows]


async def due_chunks(conn: Connection, again_seconds: float, limit: int) -> list[tuple[int, int]]:
    """Ready chunks whose look is due, with their run's priority; as ``due_runs``."""
    rows = await conn.execute(
        text(
            f"""
            UPDATE chunks c SET next_look_at = now() + make_interval(secs => :again),
                delay_seconds = :again
            FROM pipeline_executions r WHERE r.id = c.run_id AND c.id IN (
                SELECT c2.id FROM chunks c2 JOIN pipeline_executions r2 ON r2.id = c2.run_id
                WHERE c2.status = 'ready' AND c2.next_look_at <= now() AND r2.status = 'running'
                ORDER BY c2.next_look_at LIMIT :limit FOR UPDATE OF c2 SKIP LOCKED)
            RETURNING c.id, r.priority, {BRIEFLY}
            """
        ),
        {"again": again_seconds, "limit": limit},
    )
    return [(row.id, row.priority) for row in rows]


async def seconds_to_next_look(conn: Connection) -> float | None:
    """How long until anything is due; negative if something is; None if nothing waits."""
    rows = await conn.execute(
        text(
            """
            SELECT extract(epoch FROM least(
                (SELECT min(next_look_at) FROM pipeline_executions
                 WHERE status IN ('pending', 'running')),
                (SELECT min(c.next_look_at) FROM chunks c
                 JOIN pipeline_executions r ON r.id = c.run_id
                 WHERE c.status = 'ready' AND r.status = 'running'),
                (SELECT min(next_look_at) FROM housekeeping)) - now())
            """
        )
    )
    seconds = rows.scalar_one()
    return None if seconds is None else float(seconds)
