"""Lifelines: which workers are alive or dead, and who owns their chunks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from harness.inline import METRICS, Harness, make_harness, open_harness
from harness.scripted import make_tables
from harness.waiting import until
from sqlalchemy import text

from serpline.store.database import Connection, Database, DatabaseUnavailable
from serpline.store.runs import workers
from serpline.store.runs.chunks import OwnedChunk

LOCK = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 7235"


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


async def a_silent_worker(harness: Harness, database: Database | None = None) -> int:
    """Register a worker that sends no heartbeat and holds no lock."""
    async with (database or harness.database).transaction() as conn:
        worker_id = await workers.register(conn, "elsewhere", 1)
    await harness.query(
        "UPDATE workers SET heartbeat_at = now() - '1 h'::interval WHERE id = :id", id=worker_id
    )
    return worker_id


async def planned(harness: Harness) -> int:
    """The only chunk of a new run."""
    run_id = await harness.start({METRICS: ["DONE-1", "DONE-2"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    return chunk_id


async def claimed(harness: Harness, chunk_id: int, worker_id: int) -> OwnedChunk:
    """Claim that chunk for that worker."""
    chunk = await harness.claim(chunk_id, worker_id)
    assert chunk is not None
    await harness.delete_wakeups()
    return chunk


async def owned_by(harness: Harness, worker_id: int) -> OwnedChunk:
    """A chunk owned by another process's worker."""
    return await claimed(harness, await planned(harness), worker_id)


async def ending(harness: Harness, worker_id: int) -> tuple[bool, bool]:
    """Whether the worker has ended, and whether by death."""
    (row,) = await harness.query(
        "SELECT ended_at IS NOT NULL AS ended, died FROM workers WHERE id = :id", id=worker_id
    )
    return row["ended"], row["died"]


async def test_dead_workers_are_taken_over(harness: Harness) -> None:
    """A silent worker's chunk is ready with a new epoch, one death and a wake-up."""
    dead = await a_silent_worker(harness)
    chunk = await owned_by(harness, dead)
    assert await harness.lifeline.take_over() == [chunk.id]
    after = await harness.chunk(chunk.id)
    assert (after["status"], after["owner"], after["deaths"]) == ("ready", None, 1)
    assert after["epoch"] == chunk.epoch + 1
    assert await ending(harness, dead) == (True, True)
    assert await harness.waiting() == [f"chunk:{chunk.id}"]
    assert await harness.lifeline.take_over() == []


async def test_dead_workers_lose_their_sessions(harness: Harness, database_url: str) -> None:
    """A worker frozen in mid-message holds locks and is not idle, so its session is terminated."""
    other_database = await Database.connect(database_url)
    try:
        dead = await a_silent_worker(harness, other_database)
        chunk = await owned_by(harness, dead)
        (name,) = await harness.column(
            "SELECT application_name FROM workers WHERE host = 'elsewhere'"
        )
        taken: list[int] = []
        session = psycopg.connect(database_url.replace("+psycopg", ""), application_name=name)
        with suppress(psycopg.OperationalError), session, session.pipeline():
            session.execute("SELECT 1 FROM chunks WHERE id = %s FOR UPDATE", (chunk.id,))
            session.pgconn.send_flush_request()
            session.pgconn.flush()
            sql = "SELECT 1 FROM pg_stat_activity WHERE pid = :pid AND wait_event = 'ClientRead'"
            pid = session.info.backend_pid
            await until(lambda: harness.query(sql, pid=pid), "the session to hold its lock")
            async with asyncio.timeout(10):
                taken = await harness.lifeline.take_over()
        assert taken == [chunk.id]
    finally:
        await other_database.close()


async def test_a_lease_ends_before_others_take_over(db: Database) -> None:
    """It ends after three quarters of the time at which its worker counts as dead (monotonic)."""
    async with open_harness(db, heartbeat_seconds=300.0, dead_after_seconds=20.0) as harness:
        for seconds, has_lease in ((0.0, True), (14.0, True), (15.1, False)):
            harness.clock.frozen_seconds = seconds
            assert harness.lifeline.has_lease is has_lease


async def test_a_failed_heartbeat_is_retried_after_a_second(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short cut costs no lease, however rare the heartbeats are."""
    slept: list[float] = []
    beat, tried = workers.beat, 0

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.Event().wait() if seconds > 1 else None

    async def cut_once(conn: Connection, worker_id: int) -> Any:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise DatabaseUnavailable("cut")
        return await beat(conn, worker_id)

    await make_tables(db)
    harness = make_harness(db, heartbeat_seconds=300.0)
    monkeypatch.setattr(workers, "beat", cut_once)
    monkeypatch.setattr(harness.clock, "sleep", sleep)
    async with harness.lifeline.running():

        async def has_beaten() -> bool:
            return tried == 2 and len(slept) == 2

        await until(has_beaten, "the second try")
    assert slept == [1, 300]


async def test_a_held_lock_proves_a_worker_alive(harness: Harness) -> None:
    """A worker with an old heartbeat and a live session is not taken over."""
    silent = await a_silent_worker(harness)
    chunk = await owned_by(harness, silent)
    async with harness.database.session() as session:
        assert await workers.hold_lock(session, silent)
        assert await harness.lifeline.take_over() == []
        assert await ending(harness, silent) == (False, False)
        assert (await harness.chunk(chunk.id))["epoch"] == chunk.epoch
    # The server lets go of a closed session's locks in its own time.
    assert await until(harness.lifeline.take_over, "the lock to be free") == [chunk.id]


async def test_a_fresh_heartbeat_proves_a_worker_alive(harness: Harness) -> None:
    """A worker that just lost its session but beat since is not taken over."""
    async with harness.database.transaction() as conn:
        young = await workers.register(conn, "elsewhere", 1)
    await owned_by(harness, young)
    assert await harness.lifeline.take_over() == []
    assert await ending(harness, young) == (False, False)


async def test_a_worker_does_not_take_over_its_own_chunks(harness: Harness) -> None:
    """A worker whose own heartbeat is late does not declare itself dead."""
    await harness.wait_for_beats()
    async with harness.database.transaction() as conn:
        await conn.execute(text("UPDATE workers SET heartbeat_at = now() - '1 h'::interval"))
        assert await workers.take_over_dead(conn, 1.0) == {}


async def test_leaving_gives_chunks_back_at_once(db: Database) -> None:
    """A worker that leaves gives its chunks back at once, with a wake-up and no death."""
    async with open_harness(db) as harness:
        chunk_id = await planned(harness)
        with harness.lifeline.at_work(chunk_id):
            chunk = await claimed(harness, chunk_id, harness.lifeline.worker_id)
    after = await harness.chunk(chunk.id)
    assert (after["status"], after["deaths"], after["epoch"]) == ("ready", 0, chunk.epoch + 1)
    assert after["seconds_to_check"] <= 0
    assert await ending(harness, harness.lifeline.worker_id) == (True, False)
    assert await harness.waiting() == [f"chunk:{chunk.id}"]


async def test_a_lost_session_is_replaced(harness: Harness) -> None:
    """When the session with the lock is cut, the worker takes the lock again and continues."""

    async def holders() -> list[int]:
        return await harness.column(LOCK)

    (first,) = await until(holders, "the lock")
    await harness.query("SELECT pg_terminate_backend(:pid)", pid=first)

    async def others() -> list[int]:
        return [pid for pid in await holders() if pid != first]

    await until(others, "the lock to be held again")
    await harness.wait_for_beats()
    assert not harness.lifeline.declared_dead.is_set()
    assert harness.lifeline.has_lease


async def test_a_lock_that_was_busy_is_taken_later(db: Database) -> None:
    """Another worker may hold the lock for an instant to test for death: it is tried again."""
    await make_tables(db)
    harness = make_harness(db)
    async with db.session() as prober:
        for worker_id in range(1, 4):
            await workers.hold_lock(prober, worker_id)
        (probing,) = set(await harness.column(LOCK))
        async with harness.lifeline.running():
            await harness.wait_for_beats()
            await prober.execute(text("SELECT pg_advisory_unlock_all()"))

            async def is_held() -> bool:
                return any(pid != probing for pid in await harness.column(LOCK))

            await until(is_held, "the worker to hold its lock")


async def test_a_worker_declared_dead_stops(harness: Harness) -> None:
    """It learns of it with its next heartbeat and owns nothing any more."""
    await harness.query("UPDATE workers SET ended_at = now(), died = true")

    async def is_told() -> bool:
        return harness.lifeline.declared_dead.is_set()

    await until(is_told, "the worker to learn it")
    assert not harness.lifeline.has_lease
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    assert not await harness.worker.work(chunk_id)
    assert await harness.attempts("DONE-1") == 0


async def test_an_ended_worker_cannot_claim(harness: Harness) -> None:
    """A claim for a worker that has ended fails, even before that worker knows."""
    dead = await a_silent_worker(harness)
    await harness.lifeline.take_over()
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    assert await harness.claim(chunk_id, dead) is None


async def test_a_chunk_claimed_at_its_workers_end_is_taken_over(harness: Harness) -> None:
    """The next take-over makes ready a chunk that was claimed as its worker ended."""
    dead = await a_silent_worker(harness)
    chunk = await owned_by(harness, dead)
    await harness.query("UPDATE workers SET ended_at = now(), died = true WHERE id = :id", id=dead)
    assert await harness.lifeline.take_over() == [chunk.id]
    after = await harness.chunk(chunk.id)
    assert (after["status"], after["deaths"], after["epoch"]) == ("ready", 0, chunk.epoch + 1)


async def test_a_lease_ends_without_heartbeats(harness: Harness) -> None:
    """By the monotonic clock it ends well before others may declare the worker dead."""
    await harness.wait_for_beats(1)
    with harness.lifeline.holding(1, 1) as lease:
        assert lease()
        harness.clock.frozen_seconds = 14.0
        assert lease()
        harness.clock.frozen_seconds = 15.1
        assert not lease()
        assert not harness.lifeline.has_lease


async def test_a_worker_that_was_cut_off_delays_take_overs(harness: Harness) -> None:
    """After an outage as long as a lease, no worker is taken over until all could beat again."""
    await harness.wait_for_beats(1)
    chunk = await owned_by(harness, await a_silent_worker(harness))
    harness.clock.frozen_seconds = 15.1
    assert await harness.lifeline.take_over() == []
    await harness.wait_for_beats()
    assert harness.lifeline.has_lease
    harness.clock.frozen_seconds += 14.0
    await harness.wait_for_beats()
    assert await harness.lifeline.take_over() == []
    harness.clock.frozen_seconds += 7.0
    assert await harness.lifeline.take_over() == [chunk.id]


async def test_a_new_worker_delays_take_overs(db: Database) -> None:
    """A new worker may be the first one after an outage, so the others get time to beat."""
    await make_tables(db)
    harness = make_harness(db)
    chunk = await owned_by(harness, await a_silent_worker(harness))
    async with harness.lifeline.running():
        await harness.wait_for_beats(1)
        harness.clock.frozen_seconds = 14.0
        await harness.wait_for_beats()
        assert await harness.lifeline.take_over() == []
        harness.clock.frozen_seconds = 21.0
        assert await harness.lifeline.take_over() == [chunk.id]


async def test_the_lease_of_a_paused_runs_chunk_is_revoked(harness: Harness) -> None:
    """The heartbeat stops the work of a paused run, and no other work."""
    lifeline = harness.lifeline
    first, second = await planned(harness), await planned(harness)
    # What a worker owns and is not at work on goes back with its next heartbeat.
    with lifeline.at_work(first), lifeline.at_work(second):
        paused = await claimed(harness, first, lifeline.worker_id)
        other = await claimed(harness, second, lifeline.worker_id)
        with (
            lifeline.holding(paused.id, paused.epoch) as stops,
            lifeline.holding(other.id, other.epoch) as goes_on,
        ):
            assert stops()
            await harness.service.pause(paused.run_id)
            await harness.wait_for_beats()
            assert not stops()
            assert goes_on()


async def test_a_silent_sessions_lock_is_freed(db: Database) -> None:
    """The server ends the open session of a worker that sends no heartbeat."""
    await make_tables(db)
    harness = make_harness(db)

    async def is_free() -> bool:
        return not await harness.column(LOCK)

    async def beat_too_late() -> None:
        async with db.session() as session:
            await workers.set_idle_timeout(session, 0.2)
            assert await workers.hold_lock(session, 1)
            await until(is_free, "the lock to be freed")
            await workers.beat(session, 1)

    with pytest.raises(DatabaseUnavailable, match="idle-session timeout"):
        await beat_too_late()
