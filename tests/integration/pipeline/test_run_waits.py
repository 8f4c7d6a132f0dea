"""What a run waits for, as the worker and the guards store it."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from harness.inline import METRICS, NEWS, Harness, TravelClock, open_harness
from harness.scripted import BREAKER
from harness.waiting import until
from structlog.testing import capture_logs

from serpline.cli.wait_log import log_waits
from serpline.core.logging import configure
from serpline.domain.names import PhaseName
from serpline.domain.phases import LaneKey
from serpline.pipeline.waiting import lines, read_waiting
from serpline.robustness.breakers import CircuitBreakerManager
from serpline.store.database import Database
from serpline.store.runs import workers
from serpline.store.runs.workers import IS_ALIVE

SERP = LaneKey(PhaseName.SERP_COLLECTION, NEWS)


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


async def said(harness: Harness, run_id: UUID) -> list[str]:
    """What is said about the run."""
    async with harness.database.transaction() as conn:
        return lines(*await read_waiting(conn, run_id))


async def test_a_breaker_is_named_until_it_closes(harness: Harness) -> None:
    """Also while a worker asks again; once something is settled, the run works."""
    manager = CircuitBreakerManager(harness.database, harness.clock, chance=lambda: 0.5)
    breaker = manager.get_breaker(BREAKER, 1, 1, 3600)
    await (await breaker.permit()).failed()
    run_id = await harness.start({METRICS: ["REFUSED-1", "GATE-2"]}, lanes=[METRICS, SERP])
    assert await said(harness, run_id) == []
    (chunk_id,) = await harness.plan(run_id)
    assert await said(harness, run_id) == ["working on 2 items of keyword_metrics/all"]
    await harness.query("UPDATE items SET status = 'completed' WHERE item = 'GATE-2'")
    await harness.query("UPDATE chunks SET completed = 1")
    await harness.worker.work(chunk_id)
    (waits,) = await said(harness, run_id)
    assert waits.startswith(f"waiting for {BREAKER}, breaker open until ")
    assert waits.endswith(" UTC; 1 later step waits for this")
    assert await harness.claim(chunk_id, harness.lifeline.worker_id) is not None
    assert await said(harness, run_id) == [waits]
    await manager.reset(BREAKER)
    assert await said(harness, run_id) == ["working on 1 item of keyword_metrics/all"]


async def test_a_failed_attempt_is_named_until_it_is_due(harness: Harness) -> None:
    """Its category is the reason. When its time has come, a worker takes it."""
    run_id = await harness.start({METRICS: ["RETRY1-1", "DONE-2"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    await harness.worker.work(chunk_id)
    (waits,) = await said(harness, run_id)
    assert waits.startswith("1 item waits for another attempt")
    assert "(last error: server)" in waits
    await harness.query("UPDATE chunks SET next_check_at = now()")
    await harness.query("UPDATE items SET next_attempt_at = now()")
    async with harness.database.transaction() as conn:
        await workers.due_chunks(conn, 30, 9)
    assert await said(harness, run_id) == ["working on 1 item of keyword_metrics/all"]


async def test_a_limit_is_named_with_its_credits(harness: Harness) -> None:
    """Those of the day that is used up."""
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    await harness.plan(run_id)
    await harness.query(
        "UPDATE chunks SET wait_cause = 'budget', wait_subject = 'pdl day:2026-11-30',"
        " next_check_at = now() + interval '15 min'"
    )
    await harness.query(
        "INSERT INTO provider_budgets (provider, scope, limit_credits, spent)"
        " VALUES ('pdl', 'day:2026-11-30', 10, 9.5), ('pdl', 'month:2026-11', 90, 70)"
    )
    (waits,) = await said(harness, run_id)
    assert "the limit of pdl for 2026-11-30 is used up (9.5 of 10 credits)" in waits


async def test_a_batch_is_named_with_its_place(harness: Harness) -> None:
    """The batch of the second of two chunks is the second of two."""
    run_id = await harness.start({SERP: ["SNOOZE-1", "SNOOZE-2"]}, lanes=[SERP])
    await harness.plan(run_id)
    await harness.query(
        "INSERT INTO chunks (lane_id, no, run_id, planned, next_check_at, wait_cause, wait_subject)"
        " SELECT lane_id, 1, run_id, 9, now() + interval '30 s', 'provider_queue', 'scaleserp'"
        " FROM chunks"
    )
    await harness.query("UPDATE chunks SET status = 'done', completed = 2 WHERE no = 0")
    await harness.query(
        "INSERT INTO provider_batches (chunk_id, generation, provider, name, secret_path, status,"
        " stage, priority, items, started_at) SELECT id, 0, 'scaleserp', 'b', 'p', 'running',"
        " 'first', 'normal', '{}', now() - interval '12 min' FROM chunks WHERE no = 1"
    )
    assert await said(harness, run_id) == ["batch 2 of 2 (news) at ScaleSERP since 12 min, polling"]


async def test_busy_missing_and_paused_workers_are_named(harness: Harness) -> None:
    """Workers that are busy with another run, that are gone, and a person's pause."""
    busy = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(busy)
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    await harness.plan(run_id)
    with harness.lifeline.at_work(chunk_id):
        assert await harness.claim(chunk_id, harness.lifeline.worker_id) is not None
        (waits,) = await said(harness, run_id)
    assert waits.startswith("all workers are busy with other runs")
    await harness.service.pause(run_id, by="anna")
    (waits,) = await said(harness, run_id)
    assert waits.startswith("paused by anna since ")
    await harness.service.resume(run_id, by="anna")
    await harness.query(
        "UPDATE workers SET heartbeat_at = now() - interval '1 hour', ended_at = now()"
    )
    (waits,) = await said(harness, run_id)
    assert waits.startswith("no worker is running since ")


async def test_a_worker_with_rare_heartbeats_is_running(db: Database) -> None:
    """Its session holds its lock, however old its last heartbeat is."""
    async with open_harness(db, heartbeat_seconds=60.0, dead_after_seconds=180.0) as harness:
        run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])

        async def has_lock() -> bool:
            return bool(await harness.one(f"SELECT count(*) FROM workers w WHERE {IS_ALIVE}"))

        await harness.query("UPDATE workers SET heartbeat_at = now() - interval '1 min'")
        await until(has_lock, "the worker's lock")
        await harness.query("UPDATE workers SET heartbeat_at = now() - interval '1 min'")
        assert await said(harness, run_id) == []
        await harness.query("UPDATE workers SET ended_at = now()")
        (waits,) = await said(harness, run_id)
        assert waits.startswith("no worker is running since ")


async def test_up_logs_a_cause_once(harness: Harness) -> None:
    """After the second look that finds it."""
    configure("INFO")
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    await harness.query("UPDATE workers SET ended_at = now()")
    looks = iter(range(4))

    class Looks(TravelClock):
        async def sleep(self, seconds: float) -> None:
            if next(looks, None) is None:
                raise asyncio.CancelledError

    opened: Any = SimpleNamespace(database=harness.database, clock=Looks())
    with capture_logs() as logged, pytest.raises(asyncio.CancelledError):
        await log_waits(opened)
    (line,) = [entry for entry in logged if entry.get("action") == "run.waits"]
    assert line["event"].startswith("no worker is running since ")
    assert (line["run"], line["log_level"]) == (str(run_id), "info")
