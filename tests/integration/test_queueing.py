"""The job queue: served at least once, settled once, never dropped silently."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from serpline.core.logging import configure
from serpline.core.masking import MASK
from serpline.domain.errors import UserError
from serpline.domain.retry import RetryStrategy
from serpline.queueing import (
    Job,
    JobEvent,
    JobOutcome,
    JobPriority,
    JobQueueManager,
    connector,
    manager,
    worker,
)
from serpline.store.database import Database, DatabaseUnavailable, TransactionConflict
from serpline.store.embedded.server import EmbeddedServer, ensure_server
from serpline.store.migrate import migrate
from serpline.store.queue import dead_letters
from serpline.store.queue import jobs as queued_jobs
from serpline.store.queue.dead_letters import DeadLetter, DeadLetterStatus
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.tables.queueing import queued_jobs as table

AT_ONCE = RetryStrategy(max_attempts=100, base_delay=0, max_delay=0)
PATIENCE_SECONDS = 60


SECRET = "canary-of-a-payload/1"


class Watched:
    """A manager whose outcomes a test can await."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.events: asyncio.Queue[JobEvent] = asyncio.Queue()
        settings.setdefault("retry", AT_ONCE)
        self.manager = JobQueueManager(database, observer=self.events.put_nowait, **settings)

    async def next(self) -> JobEvent:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.events.get()

    async def outcomes(self, count: int) -> list[JobOutcome]:
        return [(await self.next()).outcome for _ in range(count)]

    @asynccontextmanager
    async def serving(self, concurrency: int = 2) -> AsyncIterator[asyncio.Event]:
        stop = asyncio.Event()
        running = asyncio.create_task(self.manager.run(stop, concurrency))
        try:
            yield stop
        finally:
            stop.set()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await running


@pytest.fixture
def queue(db: Database) -> Watched:
    return Watched(db)


async def test_a_secret_in_a_payload_is_masked(queue: Watched, db: Database) -> None:
    """No table holds a secret that was put into a job."""
    before = structlog.get_config()
    configure("CRITICAL", secrets=[SECRET])
    try:
        await queue.manager.enqueue_job(Job("work", {"url": f"https://x.test/?k={SECRET}", "n": 1}))
    finally:
        configure("CRITICAL")
        structlog.configure(**before)
    async with db.transaction() as conn:
        (payload,) = (await conn.execute(sa.select(table.c.payload))).scalars()
    assert payload == {"url": f"https://x.test/?k={MASK}", "n": 1}


async def dead(db: Database) -> list[DeadLetter]:
    async with db.transaction() as conn:
        return list(await dead_letters.list_dead_letters(conn))


async def rows_left(db: Database) -> int:
    async with db.transaction() as conn:
        query = sa.text(
            "SELECT (SELECT count(*) FROM queued_jobs)"
            " + (SELECT count(*) FROM procrastinate_jobs WHERE status <> 'doing')"
        )
        count: int = (await conn.execute(query)).scalar_one()
    return count


async def do_nothing(_payload: dict[str, Any]) -> None:
    """Do nothing."""


async def test_a_job_is_run_with_its_payload_and_deleted(db: Database, queue: Watched) -> None:
    """The handler gets the payload unchanged; nothing of the job remains afterwards."""
    payload = {"batch": "b-1", "pages": [1, 2], "deep": {"ümlaut": None}}
    queue.manager.register("serp_batch_processing", do_nothing)
    await queue.manager.enqueue_job(Job("serp_batch_processing", payload, JobPriority.HIGH))
    async with queue.serving():
        event = await queue.next()
    assert event == JobEvent("serp_batch_processing", payload, JobOutcome.DONE)
    assert await rows_left(db) == 0


async def test_a_job_belongs_to_its_transaction(db: Database, queue: Watched) -> None:
    """A job runs if its transaction commits, and never if it rolls back."""
    queue.manager.register("work", do_nothing)

    async def fail() -> None:
        async with db.transaction() as conn:
            await queue.manager.enqueue_job(Job("work", {"n": 1}), conn)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with db.transaction() as conn:
        await queue.manager.enqueue_job(Job("work", {"n": 2}), conn)
    async with queue.serving():
        assert (await queue.next()).payload == {"n": 2}
    assert queue.events.empty()


async def test_a_higher_priority_runs_first(queue: Watched) -> None:
    """Waiting jobs run by priority, and within a priority in order of arrival."""
    queue.manager.register("work", do_nothing)
    low, normal, high = JobPriority.LOW, JobPriority.NORMAL, JobPriority.HIGH
    for n, priority in enumerate((low, normal, high, normal, JobPriority.CRITICAL)):
        await queue.manager.enqueue_job(Job("work", {"n": n}, priority))
    async with queue.serving(concurrency=1):
        order = [(await queue.next()).payload["n"] for _ in range(5)]
    assert order == [4, 2, 1, 3, 0]


async def test_retries_are_counted_and_then_it_is_a_dead_letter(
    db: Database, queue: Watched
) -> None:
    """A job with two retries is tried three times; its last error is kept."""
    calls = 0

    async def fail(_payload: dict[str, Any]) -> None:
        nonlocal calls
        calls += 1
        raise ValueError(f"call {calls}")

    queue.manager.register("work", fail)
    await queue.manager.enqueue_job(Job("work", {"n": 1}, JobPriority.HIGH, max_retries=2))
    async with queue.serving():
        outcomes = await queue.outcomes(3)
    assert outcomes == [JobOutcome.FAILED, JobOutcome.FAILED, JobOutcome.DEAD]
    (letter,) = await dead(db)
    assert (letter.job_type, letter.payload, letter.priority) == ("work", {"n": 1}, 10)
    assert (letter.error, letter.attempts, letter.target) == ("ValueError: call 3", 3, None)
    assert await rows_left(db) == 0


async def test_a_retry_waits_for_its_delay(db: Database) -> None:
    """After a failure the job waits in our own table, by the delays of the strategy."""
    strategy = RetryStrategy(max_attempts=9, base_delay=1000, max_delay=9000, exponential_base=3)
    queue = Watched(db, retry=strategy, chance=lambda: 0.5)

    async def fail(_payload: dict[str, Any]) -> None:
        raise ValueError

    queue.manager.register("work", fail)
    job_id = await queue.manager.enqueue_job(Job("work", {}, max_retries=5))
    async with queue.serving():
        for expected in (500, 1500, 4500, 4500):
            assert (await queue.next()).outcome is JobOutcome.FAILED
            async with db.transaction() as conn:
                row = (
                    await conn.execute(
                        sa.text(
                            "SELECT status, extract(epoch FROM not_before - now())::float AS wait"
                            " FROM queued_jobs WHERE id = :id"
                        ),
                        {"id": job_id},
                    )
                ).one()
                assert row.status == "waiting"
                assert expected - 30 < row.wait <= expected
                assert await queued_jobs.claim(conn, job_id, 1) is None
                assert await queued_jobs.sweep(conn) == 0
                await conn.execute(
                    sa.text("UPDATE queued_jobs SET not_before = now(), next_check_at = now()")
                )
            await queue.manager.sweep()


async def test_an_unknown_job_type_is_a_dead_letter(db: Database, queue: Watched) -> None:
    """A job or wake-up without a handler is neither retried nor dropped."""
    await queue.manager.enqueue_job(Job("nobodys", {"n": 1}, max_retries=50))
    async with db.transaction() as conn:
        await wake(conn, [WakeUp("nobodys", "7")])
    async with queue.serving():
        assert await queue.outcomes(2) == [JobOutcome.DEAD, JobOutcome.DEAD]
    letters = await dead(db)
    assert sorted(str(letter.target) for letter in letters) == ["7", "None"]
    assert all("no handler in this process" in letter.error for letter in letters)


async def test_a_failing_wakeup_is_one_letter_with_a_count(db: Database, queue: Watched) -> None:
    """All failures of a target's wake-up count in one dead letter; each target has its own."""

    async def fail(payload: dict[str, Any]) -> None:
        raise RuntimeError(f"broken {payload['target']}")

    queue.manager.register("run", fail)
    async with queue.serving():
        for target in ("1", "1", "2", "1"):
            async with db.transaction() as conn:
                await wake(conn, [WakeUp("run", target, JobPriority.HIGH)])
            assert (await queue.next()).outcome is JobOutcome.DEAD
    found = {letter.target: (letter.attempts, letter.error) for letter in await dead(db)}
    assert found == {"1": (3, "RuntimeError: broken 1"), "2": (1, "RuntimeError: broken 2")}


async def test_a_dead_letter_is_retried_once(db: Database, queue: Watched) -> None:
    """A retried letter is enqueued unchanged; a second retry is refused."""
    ready = asyncio.Event()

    async def fail_until_ready(_payload: dict[str, Any]) -> None:
        if not ready.is_set():
            raise ValueError("not yet")

    queue.manager.register("work", fail_until_ready)
    async with db.transaction() as conn:
        await queue.manager.enqueue_job(Job("work", {"n": 1}), conn)
        await wake(conn, [WakeUp("work", "7")])
    async with queue.serving():
        assert await queue.outcomes(2) == [JobOutcome.DEAD, JobOutcome.DEAD]
        ready.set()
        letters = await dead(db)
        for letter in letters:
            async with db.transaction() as conn:
                retried = await dead_letters.retry(conn, letter.id)
            assert retried.status is DeadLetterStatus.RETRIED
        events = [await queue.next() for _ in letters]
    assert [event.outcome for event in events] == [JobOutcome.DONE, JobOutcome.DONE]
    assert sorted(map(str, (event.payload for event in events))) == ["{'n': 1}", "{'target': '7'}"]
    assert await dead(db) == []
    async with db.transaction() as conn:
        with pytest.raises(UserError, match=f"job {letters[0].id}: already retried"):
            await dead_letters.retry(conn, letters[0].id)


async def test_a_discarded_letter_keeps_its_row(db: Database, queue: Watched) -> None:
    """It leaves the list but keeps its row; an unknown letter is an error."""
    await queue.manager.enqueue_job(Job("nobodys", {}))
    async with queue.serving():
        await queue.next()
    (letter,) = await dead(db)
    async with db.transaction() as conn:
        assert (await dead_letters.discard(conn, letter.id)).settled_at is not None
        assert await dead_letters.list_dead_letters(conn) == []
        (kept,) = await dead_letters.list_dead_letters(conn, status=None)
        assert kept.status is DeadLetterStatus.DISCARDED
        with pytest.raises(UserError, match="already discarded"):
            await dead_letters.retry(conn, letter.id)
        with pytest.raises(UserError, match="job 999: unknown"):
            await dead_letters.discard(conn, 999)


async def test_letters_come_in_bounded_pages(db: Database) -> None:
    """The newest letters come first, page after page; a page has a limit."""
    async with db.transaction() as conn:
        for n in range(5):
            await dead_letters.record_wakeup(conn, WakeUp("run", str(n)), "x" * 9_999)
        first = await dead_letters.list_dead_letters(conn, limit=2)
        second = await dead_letters.list_dead_letters(conn, limit=2, before_id=first[-1].id)
        assert [letter.target for letter in (*first, *second)] == ["4", "3", "2", "1"]
        assert len(first[0].error) == queued_jobs.ERROR_LENGTH_MAX
        for limit in (0, 1_001):
            with pytest.raises(UserError, match=f"limit={limit}"):
                await dead_letters.list_dead_letters(conn, limit=limit)


async def test_no_committed_change_is_overlooked(
    db: Database, queue: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With writers and workers racing, every change is followed by a look that sees it.

    No poll helps: each wake-up is found by its notification.
    """
    monkeypatch.setattr(worker, "POLL_SECONDS", 3600.0)
    targets, changes = 5, 40
    seen = dict.fromkeys(range(targets), 0)
    last = asyncio.Event()
    read = sa.text("SELECT n FROM truth WHERE id = :id")

    async def look(payload: dict[str, Any]) -> None:
        target = int(payload["target"])
        async with db.transaction() as conn:
            found = (await conn.execute(read, {"id": target})).scalar_one()
        seen[target] = max(seen[target], found)
        if all(value == changes for value in seen.values()):
            last.set()

    async def change(target: int) -> None:
        for _ in range(changes):
            async with db.transaction() as conn:
                await conn.execute(
                    sa.text("UPDATE truth SET n = n + 1 WHERE id = :id"), {"id": target}
                )
                await wake(conn, [WakeUp("look", str(target))])

    async with db.transaction() as conn:
        await conn.execute(sa.text("CREATE TABLE truth (id int PRIMARY KEY, n int)"))
        made = sa.text("INSERT INTO truth SELECT generate_series(0, :last), 0")
        await conn.execute(made, {"last": targets - 1})
    queue.manager.register("look", look)
    async with queue.serving(concurrency=3):
        await asyncio.gather(*(change(target) for target in range(targets)))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await last.wait()


async def test_polling_finds_a_wakeup_without_notification(
    db: Database, queue: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker polls, so it serves wake-ups that its listener missed."""

    async def nothing(*_: object) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    monkeypatch.setattr(worker, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(connector, "listening", nothing)
    queue.manager.register("run", do_nothing)
    async with queue.serving():
        for target in ("1", "2"):
            async with db.transaction() as conn:
                await wake(conn, [WakeUp("run", target)])
            assert (await queue.next()).payload == {"target": target}


async def test_handled_is_called_after_every_handler(db: Database, queue: Watched) -> None:
    """Whatever its outcome, something it wrote may be due."""
    handled = asyncio.Semaphore(0)

    async def fail(_payload: dict[str, Any]) -> None:
        raise ValueError

    queue.manager.register("good", do_nothing)
    queue.manager.register("bad", fail)
    async with db.transaction() as conn:
        await wake(conn, [WakeUp("good", "1"), WakeUp("bad", "2")])
    stop = asyncio.Event()
    running = asyncio.create_task(queue.manager.run(stop, 1, handled.release))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await handled.acquire()
        await handled.acquire()
        stop.set()
        await running


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), TransactionConflict("deadlock")])
async def test_a_database_error_is_not_the_handlers(
    db: Database, queue: Watched, error: Exception
) -> None:
    """If the database fails a handler, no dead letter is written and the work is retried."""
    troubles = [error, error]

    async def work(_payload: dict[str, Any]) -> None:
        if troubles:
            raise troubles.pop()

    queue.manager.register("work", work)
    await queue.manager.enqueue_job(Job("work", {"n": 1}, max_retries=0))
    async with queue.serving():
        outcomes = await queue.outcomes(3)
    assert outcomes == [JobOutcome.POSTPONED, JobOutcome.POSTPONED, JobOutcome.DONE]
    assert await dead(db) == []


async def test_a_conflict_wakes_the_target_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wake-up undone by a deadlock is issued again, but not at once."""
    monkeypatch.setattr(manager, "CONFLICT_SECONDS_MAX", 0.4)
    queue = Watched(db, chance=lambda: 0.5)
    begun: list[float] = []

    async def work(_payload: dict[str, Any]) -> None:
        begun.append(asyncio.get_running_loop().time())
        if len(begun) == 1:
            raise TransactionConflict("deadlock")

    queue.manager.register("run", work)
    async with db.transaction() as conn:
        await wake(conn, [WakeUp("run", "1")])
    async with queue.serving():
        assert await queue.outcomes(2) == [JobOutcome.POSTPONED, JobOutcome.DONE]
    assert begun[1] - begun[0] >= 0.2


async def test_a_worker_that_stops_during_such_a_delay_hands_the_target_back(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that stops during this delay loses no wake-up."""
    monkeypatch.setattr(manager, "CONFLICT_SECONDS_MAX", 3600.0)
    queue = Watched(db, grace_seconds=0.1, chance=lambda: 1.0)
    undone = asyncio.Event()

    async def work(_payload: dict[str, Any]) -> None:
        undone.set()
        raise TransactionConflict("deadlock")

    queue.manager.register("run", work)
    async with db.transaction() as conn:
        await wake(conn, [WakeUp("run", "1")])
    async with queue.serving(), asyncio.timeout(PATIENCE_SECONDS):
        await undone.wait()
    async with db.transaction() as conn:
        waiting = sa.text("SELECT args ->> 'target' FROM procrastinate_jobs WHERE status = 'todo'")
        assert (await conn.execute(waiting)).scalars().all() == ["1"]


async def test_a_handler_cancelled_from_within_has_failed(db: Database, queue: Watched) -> None:
    """A cancellation inside a handler is its own failure and does not stop the worker."""

    async def cancel_itself(_payload: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    queue.manager.register("run", cancel_itself)
    async with db.transaction() as conn:
        await wake(conn, [WakeUp("run", "1")])
    async with queue.serving():
        assert await queue.outcomes(1) == [JobOutcome.DEAD]
    (letter,) = await dead(db)
    assert "cancelled from within" in letter.error


async def test_a_stopping_worker_hands_back_its_work(db: Database) -> None:
    """After the grace, handlers are cancelled, and the next worker takes their work at once."""
    first, second = Watched(db, grace_seconds=0.05), Watched(db)
    started = asyncio.Barrier(3)

    async def hang(_payload: dict[str, Any]) -> None:
        await started.wait()
        await asyncio.Event().wait()

    first.manager.register("work", hang)
    second.manager.register("work", do_nothing)
    async with db.transaction() as conn:
        await first.manager.enqueue_job(Job("work", {"n": 1}, JobPriority.HIGH), conn)
        await wake(conn, [WakeUp("work", "7", JobPriority.HIGH)])
    async with first.serving(), asyncio.timeout(PATIENCE_SECONDS):
        await started.wait()
    assert await first.outcomes(2) == [JobOutcome.HANDED_BACK, JobOutcome.HANDED_BACK]
    async with second.serving():
        assert await second.outcomes(2) == [JobOutcome.DONE, JobOutcome.DONE]
    assert await dead(db) == []


async def test_a_stopping_worker_lets_its_handlers_finish(db: Database) -> None:
    """A handler that ends within the grace is done, and is not cancelled."""
    queue = Watched(db, grace_seconds=PATIENCE_SECONDS)
    started, go_on = asyncio.Event(), asyncio.Event()

    async def take_long(_payload: dict[str, Any]) -> None:
        started.set()
        await go_on.wait()

    queue.manager.register("work", take_long)
    async with db.transaction() as conn:
        await wake(conn, [WakeUp("work", "7")])
    async with queue.serving(), asyncio.timeout(PATIENCE_SECONDS):
        await started.wait()
        asyncio.get_running_loop().call_later(0.2, go_on.set)
    assert await queue.outcomes(1) == [JobOutcome.DONE]
    assert await dead(db) == []


async def test_a_handler_outlives_its_workers_connections(db: Database) -> None:
    """Cut connections end the worker that fetched the wake-up; the handler still finishes."""
    queue = Watched(db, grace_seconds=0.05)
    started, go_on = asyncio.Event(), asyncio.Event()

    async def take_long(_payload: dict[str, Any]) -> None:
        started.set()
        await go_on.wait()

    queue.manager.register("long", take_long)
    queue.manager.register("short", do_nothing)
    async with db.transaction() as conn:
        await wake(conn, [WakeUp("long", "1")])
    async with queue.serving():
        async with asyncio.timeout(PATIENCE_SECONDS):
            await started.wait()
        async with db.transaction() as conn:
            cut = await conn.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
                    " current_database() AND pid <> pg_backend_pid()"
                )
            )
            assert cut.scalars().all()
            await wake(conn, [WakeUp("short", "2")])
        assert (await queue.next()).job_type == "short"
        go_on.set()
        event = await queue.next()
        assert (event.job_type, event.outcome) == ("long", JobOutcome.DONE)


async def test_a_job_taken_over_is_settled_by_its_new_worker_only(db: Database) -> None:
    """A worker whose lease expired settles nothing, whatever its handler returned."""
    slow, quick = Watched(db), Watched(db)
    started, go_on = asyncio.Event(), asyncio.Event()

    async def wait_long(_payload: dict[str, Any]) -> None:
        started.set()
        await go_on.wait()
        raise ValueError("too late to matter")

    slow.manager.register("work", wait_long)
    quick.manager.register("work", do_nothing)
    await slow.manager.enqueue_job(Job("work", {"n": 1}))
    async with slow.serving(concurrency=1):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await started.wait()
        async with db.transaction() as conn:
            await conn.execute(sa.text("UPDATE queued_jobs SET next_check_at = now()"))
            assert await queued_jobs.sweep(conn) == 1
        async with quick.serving():
            assert await quick.outcomes(1) == [JobOutcome.DONE]
        go_on.set()
        assert await slow.outcomes(1) == [JobOutcome.LOST]
    assert await dead(db) == []


async def test_leases_are_renewed_while_the_handler_works(db: Database) -> None:
    """A handler may run longer than its lease, because the manager renews it."""
    queue = Watched(db, lease_seconds=60)
    started, go_on = asyncio.Event(), asyncio.Event()

    async def wait_long(_payload: dict[str, Any]) -> None:
        started.set()
        await go_on.wait()

    queue.manager.register("work", wait_long)
    await queue.manager.enqueue_job(Job("work", {}))
    async with queue.serving():
        async with asyncio.timeout(PATIENCE_SECONDS):
            await started.wait()
        async with db.transaction() as conn:
            await conn.execute(
                sa.text("UPDATE queued_jobs SET next_check_at = now() + interval '20 s'")
            )
        await queue.manager.sweep()
        async with db.transaction() as conn:
            left = await queued_jobs.seconds_to_next_check(conn)
            assert left is not None
            assert left > 30
        go_on.set()
        assert await queue.outcomes(1) == [JobOutcome.DONE]


async def test_a_lost_wakeup_only_delays_a_job(db: Database, queue: Watched) -> None:
    """The sweep issues the lost wake-up of a job again."""
    queue.manager.register("work", do_nothing)
    await queue.manager.enqueue_job(Job("work", {}))
    async with db.transaction() as conn:
        await conn.execute(sa.text("DELETE FROM procrastinate_jobs"))
        assert await queued_jobs.sweep(conn) == 0
        await conn.execute(sa.text("UPDATE queued_jobs SET next_check_at = now()"))
    async with queue.serving():
        assert await queue.outcomes(1) == [JobOutcome.DONE]


async def test_the_database_may_restart(
    own_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker survives a restart of PostgreSQL and continues to serve; the log is short."""
    database = await Database.connect(own_server.url())
    try:
        await migrate(database)
        queue = Watched(database)
        queue.manager.register("work", do_nothing)
        async with queue.serving():
            for n in range(3):
                await queue.manager.enqueue_job(Job("work", {"n": n}))
                event = await queue.next()
                assert (event.outcome, event.payload) == (JobOutcome.DONE, {"n": n})
                await asyncio.to_thread(own_server.stop)
                await asyncio.to_thread(ensure_server, own_server.data_dir)
    finally:
        await database.close()
    assert "listener" in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_worker_stops_while_the_database_is_away(own_server: EmbeddedServer) -> None:
    """An outage does not keep a process from ending."""
    database = await Database.connect(own_server.url())
    try:
        await migrate(database)
        queue = Watched(database)
        queue.manager.register("work", do_nothing)
        async with queue.serving(), asyncio.timeout(PATIENCE_SECONDS):
            await queue.manager.enqueue_job(Job("work", {}))
            await queue.next()
            await asyncio.to_thread(own_server.stop)
            with pytest.raises(DatabaseUnavailable):
                await queue.manager.sweep()
    finally:
        await database.close()


async def test_a_worker_may_be_stopped_at_any_moment_of_its_start(queue: Watched) -> None:
    """A stop is never missed, however far the start has come."""
    moments = random.Random(1)
    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(30):
            stop = asyncio.Event()
            running = asyncio.create_task(queue.manager.run(stop, 2))
            # The start takes some 80 ms of turns and waits.
            asyncio.get_running_loop().call_later(moments.uniform(0, 0.12), stop.set)
            await running


WORKER = """
import asyncio, sys
from serpline.queueing import JobQueueManager
from serpline.store.database import Database

async def hang(payload):
    print("started", flush=True)
    await asyncio.Event().wait()

async def main():
    manager = JobQueueManager(await Database.connect(sys.argv[1]))
    manager.register("work", hang)
    await manager.run(asyncio.Event(), 2)

asyncio.run(main())
"""


async def kill_a_worker(url: str, jobs: int) -> None:
    """Start a worker process, let it start ``jobs`` handlers, and kill it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, url, stdout=asyncio.subprocess.PIPE, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(jobs):
                while b"started" not in await process.stdout.readline():
                    assert not process.stdout.at_eof()
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def test_a_killed_workers_work_is_served_again(
    db: Database, database_url: str, queue: Watched
) -> None:
    """SIGKILL loses no wake-up and no job: another worker takes both after the silence."""
    async with db.transaction() as conn:
        await queue.manager.enqueue_job(Job("work", {"n": 1}), conn)
        await wake(conn, [WakeUp("work", "7")])
    await kill_a_worker(database_url, jobs=2)
    async with db.transaction() as conn:
        # What thirty and sixty seconds of silence would do.
        await conn.execute(
            sa.text("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
        )
        await conn.execute(sa.text("UPDATE queued_jobs SET next_check_at = now()"))
    queue.manager.register("work", do_nothing)
    async with queue.serving():
        events = [await queue.next(), await queue.next()]
    assert [event.outcome for event in events] == [JobOutcome.DONE, JobOutcome.DONE]
    assert sorted(str(event.payload) for event in events) == ["{'n': 1}", "{'target': '7'}"]


async def test_a_job_that_kills_its_workers_is_buried(db: Database, queue: Watched) -> None:
    """After three deaths in a row the job is a dead letter and kills no fourth worker."""
    job_id = await queue.manager.enqueue_job(Job("work", {"n": 1}, max_retries=50))
    for _ in range(queued_jobs.DEATHS_MAX):
        async with db.transaction() as conn:
            assert await queued_jobs.claim(conn, job_id, lease_seconds=0) is not None
        async with db.transaction() as conn:
            assert await queued_jobs.sweep(conn) == 1
    (letter,) = await dead(db)
    assert (letter.attempts, letter.error) == (3, "3 workers in a row died with it")
    async with db.transaction() as conn:
        assert await queued_jobs.seconds_to_next_check(conn) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"job_type": "", "payload": {}}, "job_type=''"),
        ({"job_type": "a:b", "payload": {}}, "job_type='a:b'"),
        ({"job_type": "a", "payload": {}, "max_retries": -1}, "max_retries=-1"),
        ({"job_type": "a", "payload": {}, "max_retries": 101}, "max_retries=101"),
    ],
)
def test_an_invalid_job_is_refused(arguments: dict[str, Any], said: str) -> None:
    """A wrong job is refused where it is made, by name and value."""
    with pytest.raises(UserError, match=said):
        Job(**arguments)


def test_a_job_type_has_one_handler(queue: Watched) -> None:
    """A second handler for a type, or one for the queue's own type, is an error."""
    queue.manager.register("work", do_nothing)
    for taken in ("work", queued_jobs.JOB_TYPE):
        with pytest.raises(ValueError, match="has a handler already"):
            queue.manager.register(taken, do_nothing)
