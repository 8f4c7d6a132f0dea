"""Facts about wake-ups: after the commit, once per target, never lost in a waiting one."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from harness.databases import until_blocked

from serpline.domain.names import JobPriority
from serpline.store.database import Connection, Database
from serpline.store.queue.wakeups import BATCH_MAX, QUEUE, WakeUp, priority_of, reap_stalled, wake


async def waiting(conn: Connection) -> Sequence[tuple[str, int]]:
    rows = await conn.execute(
        sa.text(
            "SELECT queueing_lock, priority FROM procrastinate_jobs WHERE status = 'todo'"
            " ORDER BY queueing_lock"
        )
    )
    return [(row.queueing_lock, priority_of(row.priority)) for row in rows]


async def fetch(conn: Connection, worker: int | None = None) -> dict[str, Any] | None:
    """Fetch a job as a worker does, in ``conn``'s transaction."""
    row = (
        await conn.execute(
            sa.text("SELECT id, args FROM procrastinate_fetch_job_v2(ARRAY[:queue], :worker)"),
            {"queue": QUEUE, "worker": worker},
        )
    ).one()
    return None if row.id is None else dict(row.args)


async def test_a_wakeup_carries_its_type_and_target(db: Database) -> None:
    """A fetched job has the job type and the target, and nothing else."""
    async with db.transaction() as conn:
        await wake(conn, [WakeUp("run", "7")])
    async with db.transaction() as conn:
        assert await fetch(conn) == {"job_type": "run", "target": "7"}


async def test_rolled_back_state_wakes_nobody(db: Database) -> None:
    """A wake-up is rolled back with its transaction."""

    async def fail() -> None:
        async with db.transaction() as conn:
            await wake(conn, [WakeUp("run", "1")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with db.transaction() as conn:
        assert await waiting(conn) == []


async def test_one_waits_per_target_with_the_highest_priority(db: Database) -> None:
    """One wake-up per (job type, target) waits; only a higher priority changes it."""
    high, low, normal = JobPriority.HIGH, JobPriority.LOW, JobPriority.NORMAL
    for wakeups in (
        [WakeUp("run", "1"), WakeUp("chunk", "1", low), WakeUp("run", "1", high)],
        [WakeUp("run", "1", low), WakeUp("chunk", "1", normal)],
    ):
        async with db.transaction() as conn:
            await wake(conn, wakeups)
    async with db.transaction() as conn:
        assert await waiting(conn) == [("chunk:1", 0), ("run:1", 10)]


async def test_more_than_one_batch(db: Database) -> None:
    """Any number may be woken at once, including none."""
    async with db.transaction() as conn:
        await wake(conn, [])
        await wake(conn, [WakeUp("chunk", str(n)) for n in range(BATCH_MAX + 1)])
        assert len(await waiting(conn)) == BATCH_MAX + 1


@pytest.mark.parametrize(("job_type", "target"), [("", "1"), ("run", ""), ("a:b", "1")])
def test_an_ambiguous_key_is_refused(job_type: str, target: str) -> None:
    """A job type with a colon would be ambiguous."""
    with pytest.raises(ValueError, match="not a wake-up"):
        WakeUp(job_type, target)


async def test_a_waiting_wakeup_cannot_start_before_the_commit(db: Database) -> None:
    """While a transaction wakes a waiting target, no worker can start it too early."""
    async with db.transaction() as conn:
        await wake(conn, [WakeUp("run", "1")])
    async with db.transaction() as worker:
        async with db.transaction() as writer:
            await wake(writer, [WakeUp("run", "1")])
            assert await fetch(worker) is None
        assert await fetch(worker) == {"job_type": "run", "target": "1"}


async def test_a_wakeup_that_is_starting_does_not_absorb_a_new_one(db: Database) -> None:
    """If the waiting wake-up is being fetched, a new one is inserted."""
    async with db.transaction() as conn:
        await wake(conn, [WakeUp("run", "1")])

    async def write() -> None:
        async with db.transaction() as writer:
            await wake(writer, [WakeUp("run", "1", JobPriority.HIGH)])

    async with db.transaction() as worker:
        assert await fetch(worker) is not None
        writing = asyncio.create_task(write())
        await until_blocked(db)
    await writing
    async with db.transaction() as conn:
        assert await waiting(conn) == [("run:1", 10)]


async def test_waking_a_waiting_target_notifies_the_workers(db: Database) -> None:
    """A worker that skipped the locked row is notified after the commit, so it need not poll."""
    async with db.transaction() as conn:
        await wake(conn, [WakeUp("run", "1")])
    async with db.session() as session:
        await session.execute(sa.text(f'LISTEN "procrastinate_queue_v1#{QUEUE}"'))
        driver = (await session.get_raw_connection()).driver_connection
        assert driver is not None
        async with db.transaction() as conn:
            await wake(conn, [WakeUp("run", "1")])
        told = [note async for note in driver.notifies(timeout=30, stop_after=1)]
    assert '"job_inserted"' in told[0].payload


async def test_a_dead_workers_wakeup_is_issued_again(db: Database) -> None:
    """A dead or silent worker's job is finished, and its target waits again."""
    async with db.transaction() as conn:
        await wake(conn, [WakeUp("run", str(n), JobPriority.HIGH) for n in range(3)])
        silent, alive = await register(conn), await register(conn)
        await conn.execute(
            sa.text(
                "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 s'"
                " WHERE id = :id"
            ),
            {"id": silent},
        )
        for worker in (None, silent, alive):
            assert await fetch(conn, worker) is not None
        await wake(conn, [WakeUp("run", "0")])  # a newer wake-up waits beside the dead one
    async with db.transaction() as conn:
        assert await reap_stalled(conn) == 2
        assert await reap_stalled(conn) == 0
        assert await waiting(conn) == [("run:0", 10), ("run:1", 10)]
        doing = await conn.execute(
            sa.text("SELECT worker_id FROM procrastinate_jobs WHERE status = 'doing'")
        )
        assert list(doing.scalars()) == [alive]


async def register(conn: Connection) -> int:
    statement = sa.text("SELECT worker_id FROM procrastinate_register_worker_v1()")
    worker: int = (await conn.execute(statement)).scalar_one()
    return worker
