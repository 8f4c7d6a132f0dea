"""Wake-ups: jobs that announce a change of state, written in the transaction of that change.

The promise: workers see a wake-up after the commit, never before. At most one wake-up per (job
type, target) waits. A new wake-up is never absorbed by a waiting one that starts before the commit:
``wake`` is an UPSERT, not "insert unless present", because the update's row lock keeps workers off
the waiting job until the commit. A job that is just being fetched no longer conflicts, so a new row
is inserted.

Lanes take turns: within a priority, the first chunks of all lanes come before the second ones, and
so on. A new lane starts at the turn now being served, so a small lane never waits for all of a
large one. All other wake-ups come before the chunks.

The limits: a wake-up is a hint. It may come twice, late, or (if a worker was killed) not at all.
Handlers read the work from our tables. Failed wake-ups are not retried; the sweep issues them
again. Call ``wake`` once per transaction, and last: it holds row locks until the commit, and two
transactions that call it twice in opposite orders may deadlock.
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

# Distance of two priorities in the queue's own numbers; the numbers between are for turns.
_PRIORITY_STEP: Final = 100_000_000
_TURNS_MAX: Final = (JobPriority.HIGH - JobPriority.NORMAL) * _PRIORITY_STEP

# Procrastinate's trigger announces new rows. A worker may have skipped a waiting row while we held
# its lock, so ``wake`` sends one more notification. One is enough for any number of rows, because a
# woken worker fetches until nothing is left.
_WAKE: Final = sa.text(
    f"""
    WITH wanted AS (
        SELECT w.job_type, w.target, w.priority * {_PRIORITY_STEP} AS top, c.lane_id,
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
    """A hint for the handler of ``job_type``, which gets ``{"target": target}``.

    ``job_type`` has no colon, so that "job type:target" is a unique key.
    """

    job_type: str
    target: str
    priority: JobPriority = JobPriority.NORMAL

    def __post_init__(self) -> None:
        """Refuse what would not be a unique key."""
        if not self.job_type or ":" in self.job_type or not self.target:
            raise ValueError(f"not a wake-up: {self.job_type!r}, {self.target!r}")


def priority_of(place: int) -> JobPriority:
    """Return the priority of a wake-up from its number in the queue, without its turn."""
    step = JobPriority.HIGH - JobPriority.NORMAL
    return JobPriority(-(-place // _TURNS_MAX) * step)


async def wake(conn: Connection, wakeups: Sequence[WakeUp]) -> None:
    """Wake the handlers when ``conn``'s transaction commits.

    A target that is named twice, or waits already, is woken once, with the highest priority.
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
    """Replace wake-ups whose worker died (no heartbeat for ``silent_seconds``) by new ones.

    They cannot be set waiting again: a newer wake-up of the same target may wait already. Returns
    how many, at most ``BATCH_MAX`` a call. Several processes may call it at once.
    """
    values = {"queue": QUEUE, "task": TASK, "seconds": silent_seconds, "most": BATCH_MAX}
    rows = (await conn.execute(_STALLED, values)).all()
    if rows:
        await conn.execute(_FINISH, {"ids": [row.id for row in rows]})
        await wake(
            conn, [WakeUp(row.job_type, row.target, priority_of(row.priority)) for row in rows]
        )
    return len(rows)
