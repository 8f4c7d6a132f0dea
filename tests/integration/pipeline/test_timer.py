"""The timer wakes due rows, and wakes them again if the wake-up was lost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness.guarded import Provider, call, owned_chunk, policy
from harness.inline import METRICS, Harness, open_harness
from harness.waiting import until
from sqlalchemy import text
from sqlalchemy.event import listen

from serpline.app.worker import run_worker
from serpline.core.ids import new_id
from serpline.core.settings import load
from serpline.pipeline.timer import Timer
from serpline.robustness.guard import CallScope, Guard
from serpline.store.database import Connection, Database
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import workers


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


@pytest.fixture
def timer(harness: Harness) -> Timer:
    return make_timer(harness)


def make_timer(harness: Harness, take_over_seconds: float = 5.0) -> Timer:
    return Timer(
        harness.database,
        harness.clock,
        harness.lifeline,
        check_again_seconds=60,
        take_over_seconds=take_over_seconds,
    )


DUE_NOW = (
    "UPDATE chunks SET next_check_at = now() WHERE status = 'ready'",
    "UPDATE pipeline_executions SET next_check_at = now() WHERE next_check_at IS NOT NULL",
)


async def all_due(harness: Harness) -> None:
    """Make every row due, and lose every wake-up."""
    await harness.delete_wakeups()
    for statement in DUE_NOW:
        await harness.query(statement)


async def test_lost_wakeups_are_issued_again(harness: Harness, timer: Timer) -> None:
    """A new run and a chunk whose wake-ups were lost are woken when due."""
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    await timer.tick()
    assert await harness.waiting() == [f"run:{run_id}"]
    (chunk_id,) = await harness.plan(run_id)
    for _ in range(2):  # however often it gets lost
        await all_due(harness)
        await timer.tick()
        assert await harness.waiting() == [f"chunk:{chunk_id}", f"run:{run_id}"]


async def test_a_woken_row_is_not_woken_again_at_once(harness: Harness, timer: Timer) -> None:
    """A row is woken again after ``check_again_seconds``, and not before."""
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    await all_due(harness)
    await timer.tick()
    await harness.delete_wakeups()
    await timer.tick()
    assert await harness.waiting() == []
    assert 50 < (await harness.chunk(chunk_id))["seconds_to_check"] <= 60


async def test_a_waiting_chunk_is_not_woken(harness: Harness, timer: Timer) -> None:
    """A chunk that is not due is not woken, and the timer sleeps no longer than until it is."""
    run_id = await harness.start({METRICS: ["RETRY1-a"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    await harness.worker.work(chunk_id)
    await harness.delete_wakeups()
    await harness.query("UPDATE chunks SET next_check_at = now() + '0.6 s'::interval")
    seconds = await timer.tick()
    assert await harness.waiting() == []
    assert 0.05 <= seconds <= 0.6


async def test_the_timer_neither_spins_nor_oversleeps(harness: Harness, timer: Timer) -> None:
    """With nothing due it sleeps until the next take-over; with something due, 50 ms."""
    assert 4 < await timer.tick() <= 5
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    await harness.query(
        "UPDATE pipeline_executions SET next_check_at = now() - '1 h'::interval WHERE id = :r",
        r=run_id,
    )
    await harness.query(  # still due after the tick, which is not to come back at once for it
        "CREATE FUNCTION keep_due() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.next_check_at := now() - interval '1 h'; RETURN NEW; END $$"
    )
    await harness.query(
        "CREATE TRIGGER keep_due BEFORE UPDATE ON pipeline_executions"
        " FOR EACH ROW EXECUTE FUNCTION keep_due()"
    )
    assert await timer.tick() == 0.05


async def test_a_tick_with_nothing_due_is_one_statement(harness: Harness, timer: Timer) -> None:
    """An idle tick costs one statement, however many rows wait."""
    await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    await timer.tick()
    sent: list[str] = []
    engine = harness.database._engine.sync_engine
    listen(engine, "before_cursor_execute", lambda *call: sent.append(call[2]))
    await timer.tick()
    assert len([sql for sql in sent if "heartbeat" not in sql]) == 1


async def test_a_tick_wakes_a_thousand_of_each_at_most(harness: Harness, timer: Timer) -> None:
    """Statements are bounded, whatever is due after an outage; the next tick continues."""
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    await harness.plan(run_id)
    await harness.query(
        "INSERT INTO chunks (lane_id, no, run_id, status, planned)"
        " SELECT lane_id, n, run_id, 'ready', 1 FROM chunks, generate_series(1, 1050) AS n"
    )
    await all_due(harness)
    for count in (1000, 51, 0):
        await harness.delete_wakeups()
        await timer.tick()
        chunks = [name for name in await harness.waiting() if name.startswith("chunk:")]
        assert len(chunks) == count


async def test_paused_runs_are_not_due(harness: Harness, timer: Timer) -> None:
    """A paused run and its chunks are not woken. After a resume both are, at once."""
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    await harness.service.pause(run_id)
    await all_due(harness)
    await timer.tick()
    assert await harness.waiting() == []
    await harness.query("UPDATE chunks SET next_check_at = now() + '1 h'::interval")
    await harness.service.resume(run_id)
    await harness.delete_wakeups()
    await timer.tick()
    assert await harness.waiting() == [f"chunk:{chunk_id}", f"run:{run_id}"]


async def test_timers_share_the_work(harness: Harness) -> None:
    """Many timers over many due rows wake each of them, without waiting for each other."""
    run_ids = [
        await harness.start({METRICS: ["DONE-1", "DONE-2"]}, lanes=[METRICS]) for _ in range(10)
    ]
    for run_id in run_ids:
        await harness.plan(run_id)
    await all_due(harness)
    timers = [make_timer(harness) for _ in range(5)]
    async with asyncio.timeout(20):
        await asyncio.gather(*[timer.tick() for timer in timers])
    woken = await harness.waiting()
    assert {f"run:{run_id}" for run_id in run_ids} <= set(woken)
    assert len([name for name in woken if name.startswith("chunk:")]) == 10


async def test_a_tick_takes_over_dead_workers(harness: Harness, timer: Timer) -> None:
    """Any worker's timer finds dead workers."""
    async with harness.database.transaction() as conn:
        dead = await workers.register(conn, "elsewhere", 1)
    await harness.query(
        "UPDATE workers SET heartbeat_at = now() - '1 h'::interval WHERE id = :id", id=dead
    )
    await timer.tick()
    assert await harness.one("SELECT died FROM workers WHERE id = :id", id=dead)


async def test_a_tick_finds_what_a_dead_worker_left_behind(harness: Harness, timer: Timer) -> None:
    """It finds a chunk claimed as its worker ended, and calls whose chunk was given back."""
    run_id, chunk_id, epoch = await owned_chunk(harness.database)
    calls = Guard(harness.database, Provider(gate=asyncio.Event()).send, [policy()])
    scope = CallScope("x", run_id=run_id, chunk_id=chunk_id, epoch=epoch)
    calling = asyncio.create_task(calls.execute(call("a"), scope))

    async def is_intended() -> bool:
        return await harness.column("SELECT status FROM provider_calls") == ["intent"]

    await until(is_intended, "the intent")
    await harness.query("UPDATE workers SET ended_at = now() WHERE pid = 1")
    await timer.tick()
    assert (await harness.chunk(chunk_id))["status"] == "ready"
    assert await harness.column("SELECT status FROM provider_calls") == ["unknown"]
    # Somebody took it over, and died before the calls were accounted for.
    await harness.query("UPDATE provider_calls SET status = 'intent', finished_at = NULL")
    await make_timer(harness).tick()
    assert await harness.column("SELECT status FROM provider_calls") == ["unknown"]
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await calls.close()


async def test_a_timer_that_is_notified_checks_soon(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer that sleeps for an hour wakes new due rows after ``check_soon``."""
    monkeypatch.setattr("serpline.pipeline.timer.CHECK_SECONDS", 0.05)
    timer = Timer(
        harness.database,
        harness.clock,
        harness.lifeline,
        check_again_seconds=60,
        take_over_seconds=3600,
    )
    slept = asyncio.Queue[float]()
    tick = timer.tick

    async def observed_tick() -> float:
        slept.put_nowait(seconds := await tick())
        return seconds

    monkeypatch.setattr(timer, "tick", observed_tick)
    stop = asyncio.Event()
    running = asyncio.create_task(timer.run(stop))
    try:
        async with asyncio.timeout(30):
            assert await slept.get() > 3000
            run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
            timer.check_soon()
            assert await slept.get() > 50
        assert await harness.waiting() == [f"run:{run_id}"]
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await running


async def test_a_workers_timer_checks_after_each_handler(
    harness: Harness, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker notifies its timer, because a handler may have written something due earlier."""
    checked, stop = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(Timer, "check_soon", lambda _timer: checked.set())
    settings = load(data_dir=tmp_path, database_url=database_url)
    working = asyncio.create_task(run_worker(settings, stop, phases=harness.phases))
    async with harness.database.transaction() as conn:
        await wake(conn, [WakeUp("run", str(new_id()))])
    async with asyncio.timeout(60):
        await checked.wait()
        stop.set()
        await working


async def test_the_timer_runs_until_it_is_stopped(harness: Harness) -> None:
    """It wakes rows that become due while it runs, and ends on ``stop``."""
    timer, stop = make_timer(harness, take_over_seconds=0.2), asyncio.Event()
    running = asyncio.create_task(timer.run(stop))
    try:
        run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])

        async def is_woken() -> bool:
            return await harness.waiting() == [f"run:{run_id}"]

        await until(is_woken, "the run to be woken")
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await running


async def test_an_outage_does_not_end_the_timer(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for an unavailable server. A bug ends the timer and raises in its process."""
    timer = make_timer(harness, take_over_seconds=0.2)
    states = iter(("57014", "55P03", "58030", "25006", "40P01"))
    due_runs = workers.due_runs

    async def troubled(conn: Connection, *rest: Any) -> Any:
        if state := next(states, None):
            await conn.execute(text(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$"))
        return await due_runs(conn, *rest)

    monkeypatch.setattr("serpline.pipeline.timer.CHECK_SECONDS", 0.05)
    monkeypatch.setattr(workers, "due_runs", troubled)
    stop = asyncio.Event()
    running = asyncio.create_task(timer.run(stop))
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])

    async def is_woken() -> bool:
        return running.done() or await harness.waiting() == [f"run:{run_id}"]

    await until(is_woken, "the run to be woken in spite of all")
    stop.set()
    await running
    assert next(states, None) is None

    async def bug(*_: Any) -> Any:
        raise LookupError("a bug")

    monkeypatch.setattr(workers, "due_runs", bug)
    await all_due(harness)
    with pytest.raises(LookupError):
        await timer.run(asyncio.Event())


async def test_a_dead_workers_calls_are_accounted_for_at_the_take_over(
    harness: Harness, timer: Timer
) -> None:
    """Its unfinished calls are closed as possibly paid."""
    run_id, chunk_id, epoch = await owned_chunk(harness.database)
    await harness.query("UPDATE workers SET heartbeat_at = now() - '1 h'::interval WHERE pid = 1")
    calls = Guard(harness.database, Provider(gate=asyncio.Event()).send, [policy()])
    scope = CallScope("x", run_id=run_id, chunk_id=chunk_id, epoch=epoch)
    calling = asyncio.create_task(calls.execute(call("a"), scope))

    async def is_intended() -> bool:
        return await harness.column("SELECT status FROM provider_calls") == ["intent"]

    await until(is_intended, "the intent")
    await timer.tick()
    assert await harness.column("SELECT status FROM provider_calls") == ["unknown"]
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await calls.close()
