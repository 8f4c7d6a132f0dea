"""Jobs with a payload: the rows behind ``enqueue_job``. Wake-ups only announce them.

The promise: a job enqueued in a committed transaction runs at least once and is settled once. A
lost wake-up, a killed worker or an outage only delays it: ``sweep`` announces waiting jobs again
and takes back those of dead workers. After ``DEATHS_MAX`` consecutive workers died while running a
job, it becomes a dead letter.

All times are the database's. Every settling function takes the claim's epoch and returns whether
the claim was still valid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from serpline.domain.names import JobPriority
from serpline.store.database import IDLE_LIMIT, Connection
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.tables.queueing import queued_jobs

JOB_TYPE: Final = "queued_job"
ERROR_LENGTH_MAX: Final = 2_000
DEATHS_MAX: Final = 3
SWEEP_MAX: Final = 500
# How long a waiting job may stay unclaimed before it is announced again.
ANNOUNCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed job. ``attempts``: how often it has failed so far."""

    id: int
    epoch: int
    job_type: str
    payload: dict[str, Any]
    attempts: int
    max_retries: int


async def insert(
    conn: Connection,
    job_type: str,
    payload: Mapping[str, Any],
    *,
    priority: JobPriority,
    max_retries: int,
) -> int:
    """Insert a job and announce it; both take effect when the caller's transaction commits."""
    statement = (
        sa.insert(queued_jobs)
        .values(
            job_type=job_type,
            payload=dict(payload),
            priority=int(priority),
            max_retries=max_retries,
            next_check_at=_in_seconds(ANNOUNCE_SECONDS),
            delay_seconds=ANNOUNCE_SECONDS,
        )
        .returning(queued_jobs.c.id)
    )
    job_id: int = (await conn.execute(statement)).scalar_one()
    await wake(conn, [WakeUp(JOB_TYPE, str(job_id), priority)])
    return job_id


async def claim(conn: Connection, job_id: int, lease_seconds: float) -> Claim | None:
    """Claim a waiting job for ``lease_seconds``; None if it is gone, taken, or not due yet."""
    statement = (
        sa.update(queued_jobs)
        .where(
            queued_jobs.c.id == job_id,
            queued_jobs.c.status == "waiting",
            queued_jobs.c.not_before <= sa.func.now(),
        )
        .values(
            status="running",
            epoch=queued_jobs.c.epoch + 1,
            next_check_at=_in_seconds(lease_seconds),
            delay_seconds=lease_seconds,
        )
        .returning(
            queued_jobs.c.id,
            queued_jobs.c.epoch,
            queued_jobs.c.job_type,
            queued_jobs.c.payload,
            queued_jobs.c.attempts,
            queued_jobs.c.max_retries,
        )
    )
    row = (await conn.execute(statement)).one_or_none()
    return None if row is None else Claim(**row._mapping)


async def renew(
    conn: Connection, held: Sequence[tuple[int, int]], lease_seconds: float
) -> set[tuple[int, int]]:
    """Extend the leases of the (id, epoch) pairs; returns the pairs that are still valid."""
    statement = sa.text(
        "UPDATE queued_jobs SET next_check_at = now() + make_interval(secs => :seconds),"
        " delay_seconds = :seconds"
        " FROM unnest(:ids, :epochs) AS held (id, epoch)"
        " WHERE queued_jobs.id = held.id AND queued_jobs.epoch = held.epoch"
        " AND status = 'running' RETURNING queued_jobs.id, queued_jobs.epoch"
    ).bindparams(
        sa.bindparam("ids", type_=ARRAY(sa.BigInteger)),
        sa.bindparam("epochs", type_=ARRAY(sa.Integer)),
    )
    ids, epochs = [job for job, _ in held], [epoch for _, epoch in held]
    found = await conn.execute(statement, {"seconds": lease_seconds, "ids": ids, "epochs": epochs})
    return {(row.id, row.epoch) for row in found}


async def succeed(conn: Connection, job: Claim) -> bool:
    """Delete a job that succeeded."""
    result = await conn.execute(sa.delete(queued_jobs).where(*_is_held_by(job)))
    return result.rowcount == 1


async def postpone(
    conn: Connection, job: Claim, *, delay_seconds: float, failed: bool = True
) -> bool:
    """Run the job again after a delay; ``failed=False`` uses no attempt."""
    statement = (
        sa.update(queued_jobs)
        .where(*_is_held_by(job))
        .values(
            status="waiting",
            attempts=queued_jobs.c.attempts + int(failed),
            deaths=0,
            not_before=_in_seconds(delay_seconds),
            next_check_at=_in_seconds(delay_seconds),
            delay_seconds=delay_seconds,
        )
    )
    return (await conn.execute(statement)).rowcount == 1


async def bury(conn: Connection, job: Claim, error: str) -> bool:
    """Move the job to the dead letters, with one more attempt counted."""
    return await _bury(conn, [(job.id, job.epoch)], error, attempts=1) == 1


async def sweep(conn: Connection) -> int:
    """Announce due jobs again and take back those of dead workers; returns how many rows.

    At most ``SWEEP_MAX`` a call. Rows locked by another sweep are skipped.
    """
    statement = sa.text(
        "WITH due AS (SELECT id, status FROM queued_jobs WHERE next_check_at <= now()"
        " ORDER BY next_check_at LIMIT :most FOR UPDATE SKIP LOCKED)"
        " UPDATE queued_jobs SET status = 'waiting',"
        " deaths = deaths + (due.status = 'running')::int,"
        " epoch = epoch + (due.status = 'running')::int,"
        " next_check_at = now() + make_interval(secs => :seconds), delay_seconds = :seconds"
        " FROM due WHERE queued_jobs.id = due.id"
        f" RETURNING queued_jobs.id, queued_jobs.epoch, priority, deaths, {IDLE_LIMIT}"
    )
    values = {"most": SWEEP_MAX, "seconds": ANNOUNCE_SECONDS}
    rows = (await conn.execute(statement, values)).all()
    poison = [(row.id, row.epoch) for row in rows if row.deaths >= DEATHS_MAX]
    if poison:
        await _bury(conn, poison, f"{DEATHS_MAX} workers in a row died with it", attempts=0)
    await wake(
        conn,
        [
            WakeUp(JOB_TYPE, str(row.id), JobPriority(row.priority))
            for row in rows
            if row.deaths < DEATHS_MAX
        ],
    )
    return len(rows)


async def seconds_to_next_check(conn: Connection) -> float | None:
    """Seconds until ``sweep`` has something to do (0: now); None without any job."""
    wait = sa.func.extract("epoch", sa.func.min(queued_jobs.c.next_check_at) - sa.func.now())
    found = (await conn.execute(sa.select(wait))).scalar_one()
    return None if found is None else max(0.0, float(found))


async def _bury(
    conn: Connection, jobs: Sequence[tuple[int, int]], error: str, *, attempts: int
) -> int:
    statement = sa.text(
        "WITH gone AS (DELETE FROM queued_jobs USING unnest(:ids, :epochs) AS held (id, epoch)"
        " WHERE queued_jobs.id = held.id AND queued_jobs.epoch = held.epoch"
        " RETURNING job_type, payload, priority, max_retries, attempts, deaths)"
        " INSERT INTO dead_letters (job_type, payload, priority, max_retries, error, attempts)"
        " SELECT job_type, payload, priority, max_retries, :error, attempts + deaths + :attempts"
        " FROM gone"
    ).bindparams(
        sa.bindparam("ids", type_=ARRAY(sa.BigInteger)),
        sa.bindparam("epochs", type_=ARRAY(sa.Integer)),
    )
    values = {
        "ids": [job for job, _ in jobs],
        "epochs": [epoch for _, epoch in jobs],
        "error": error[:ERROR_LENGTH_MAX],
        "attempts": attempts,
    }
    return (await conn.execute(statement, values)).rowcount


def _is_held_by(job: Claim) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        queued_jobs.c.id == job.id,
        queued_jobs.c.epoch == job.epoch,
        queued_jobs.c.status == "running",
    )


def _in_seconds(seconds: float) -> sa.ColumnElement[Any]:
    return sa.func.now() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
