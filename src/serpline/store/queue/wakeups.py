"""Wake-ups: "look at this", written in the transaction of the state they announce.

The promise: a wake-up written here is seen by a worker after the commit, and by none before it;
of one (job type, target) at most one is waiting; and it is never swallowed by a waiting one that
starts too early. That last point is why this is an UPSERT and not "insert unless there": the row
lock of the update keeps workers off the waiting job until we commit, and a job that is just being
fetched no longer conflicts, so a new row appears beside it.

Lanes take turns: of one priority, the first chunks of all lanes come before the second ones, and
so on. A new lane begins with the turn that is being served, so one with little to do never waits
for all that another one has. Everything else comes before the chunks.

The limits: a wake-up is a hint. It may come twice, late, or (a killed worker) not at all; what is
to be done is read from our tables, and a sweep issues anew what is missing. Call ``wake`` once per
transaction and last: it holds row locks until the commit, and two transactions that call it twice
in opposite orders may be undone by deadlock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from serpline.domain.names import JobPriority
from serpline.store.database import IDLE_LIMIT, Connection

QUEUE: Final = "serpline"
TASK: Final = "serpline.wake"
BATCH_MAX: Final = 1_000
# A Procrastinate worker beats every 10 s.
STALLED_SECONDS: Final = 30.0

# How far apart the priorities lie in the queue's own numbers: between two is room for turns.
_APART: Final = 100_000_000
_TURNS_MAX: Final = (JobPriority.HIGH - JobPriority.NORMAL) * _APART

# New rows are announced by Procrastinate's own trigger. A row that was waiting already was perhaps
# skipped while we held its lock, so one more notification is sent; one is enough for any number,
# for a worker that is woken fetches until nothing is left.
_WAKE: Final = sa.text(
    f"""
    WITH wanted AS (
        SELECT w.job_type, w.target, w.priority * {_APART} AS top, c.lane_id,
            CAST(c.epoch > 0 AS int) + row_number()
                OVER (PARTITION BY w.priority, c.lane_id ORDER BY c.id) AS turn
        FROM unnest(:job_types, :targets, :priorities)
            AS w (job_type, target, priority)
        LEFT JOIN chunks c
            ON c.id = CASE w.job_type WHEN 'chunk' THEN CAST(w.target AS bigint) END
    ), front AS (
        SELECT top, top - coalesce((SELECT max(priority) FROM procrastinate_jobs
            WHERE status = 'todo' AND priority < top AND priority > top - {_TURNS_MAX}), top - 1)
            AS turn
        FROM (SELECT DISTINCT top FROM wanted WHERE lane_id IS NOT NULL) AS tops
    ), placed AS (
        SELECT job_type, target, top - CASE WHEN lane_id IS NULL THEN 0
            ELSE least(front.turn - 1 + wanted.turn, {_TURNS_MAX} - 1) END AS place
        FROM wanted LEFT JOIN front USING (top)
    ), woken AS (
        INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, priority, args)
        SELECT CAST(:queue AS text), CAST(:task AS text), placed.job_type || ':' || placed.target,
               placed.place,
               jsonb_build_object('job_type', placed.job_type, 'target', placed.target)
        FROM placed ORDER BY (placed.job_type || ':' || placed.target) COLLATE "C"
        ON CONFLICT (queueing_lock) WHERE status = 'todo' DO UPDATE
        SET priority = CASE WHEN ceil(excluded.priority / {_TURNS_MAX}.0)
                > ceil(procrastinate_jobs.priority / {_TURNS_MAX}.0)
                THEN excluded.priority ELSE procrastinate_jobs.priority END,
            scheduled_at = NULL
        RETURNING id
    )
    SELECT {IDLE_LIMIT}, pg_notify(
        'procrastinate_queue_v1#' || CAST(:queue AS text),
        json_build_object('type', 'job_inserted', 'job_id', max(id))::text
    ) FROM woken
    """
).bindparams(
    sa.bindparam("job_types", type_=ARRAY(sa.Text)),
    sa.bindparam("targets", type_=ARRAY(sa.Text)),
    sa.bindparam("priorities", type_=ARRAY(sa.Integer)),
)

_STALLED: Final = sa.text(
    """
    SELECT jobs.id, jobs.args ->> 'job_type' AS job_type, jobs.args ->> 'target' AS target,
           jobs.priority
    FROM procrastinate_jobs AS jobs
    LEFT JOIN procrastinate_workers AS workers ON workers.id = jobs.worker_id
    WHERE jobs.status = 'doing' AND jobs.queue_name = :queue AND jobs.task_name = :task
      AND (workers.id IS NULL
           OR workers.last_heartbeat < now() - make_interval(secs => :seconds))
    ORDER BY jobs.id LIMIT :most FOR UPDATE OF jobs
    """
)
_FINISH: Final = sa.text(
    "SELECT procrastinate_finish_job_v1(id, 'failed', true) FROM unnest(:ids) AS dead (id)"
).bindparams(sa.bindparam("ids", type_=ARRAY(sa.BigInteger)))


@dataclass(frozen=True, slots=True)
class WakeUp:
    """A hint for the handler of ``job_type``, which is given ``{"target": target}``.

    ``job_type`` holds no colon, so that (job type, target) is one key.
    """

    job_type: str
    target: str
    priority: JobPriority = JobPriority.NORMAL

    def __post_init__(self) -> None:
        """Refuse what would not be one key."""
        if not self.job_type or ":" in self.job_type or not self.target:
            raise ValueError(f"not a wake-up: {self.job_type!r}, {self.target!r}")


def priority_of(place: int) -> JobPriority:
    """The priority that a wake-up was given, by its number in the queue, whatever its turn."""
    step = JobPriority.HIGH - JobPriority.NORMAL
    return JobPriority(-(-place // _TURNS_MAX) * step)


async def wake(conn: Connection, wakeups: Sequence[WakeUp]) -> None:
    """Wake the handlers when ``conn``'s transaction commits; nothing happens if it does not.

    A target named twice, or waiting already, is woken once, with the highest priority asked for.
    """
    highest: dict[tuple[str, str], int] = {}
    for one in wakeups:
        key = (one.job_type, one.target)
        highest[key] = max(highest.get(key, one.priority), one.priority)
    keys = sorted(highest, key=":".join)
    for start in range(0, len(keys), BATCH_MAX):
        part = keys[start : start + BATCH_MAX]
        await conn.execute(
            _WAKE,
            {
                "queue": QUEUE,
                "task": TASK,
                "job_types": [job_type for job_type, _ in part],
                "targets": [target for _, target in part],
                "priorities": [highest[key] for key in part],
            },
        )


async def reap_stalled(conn: Connection, silent_seconds: float = STALLED_SECONDS) -> int:
    """Finish what died with its worker (no heartbeat for ``silent_seconds``) and wake it anew.

    Such a job can't be set waiting again: a newer wake-up of the same target may wait already.
    Returns how many, at most ``BATCH_MAX`` a call. Several reapers may call it at once.
    """
    values = {"queue": QUEUE, "task": TASK, "seconds": silent_seconds, "most": BATCH_MAX}
    rows = (await conn.execute(_STALLED, values)).all()
    if rows:
        await conn.execute(_FINISH, {"ids": [row.id for row in rows]})
        await wake(
            conn, [WakeUp(row.job_type, row.target, priority_of(row.priority)) for row in rows]
        )
    return len(rows)
