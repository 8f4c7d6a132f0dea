"""Real worker processes are killed, frozen, resumed, stopped and cut off; nothing is lost.

The evidence is in the scripted phases' own tables: a result written twice would be there twice.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from harness.forks import Fork
from harness.inline import METRICS
from harness.scripted import open_gate
from harness.scripted_workers import DEAD_AFTER_SECONDS, QUICK, ScriptedWorkers, scripted_workers
from harness.waiting import until

from serpline.domain.names import PipelineMode
from serpline.domain.states import ENDED_RUNS
from serpline.pipeline.quarantine import ALONE_DEATHS_MAX
from serpline.store.database import Database
from serpline.store.runs.chunks import SUSPECT_DEATHS

TAKEN_OVER_SECONDS_MAX = 45.0
# In key order: finished items, the item the fault hits, later items.
BEFORE = [f"DONE-{n:02}" for n in range(10)]
AFTER = [f"RETRY0-{n:02}" for n in range(10)]


@pytest.fixture
async def workers(
    db: Database, database_url: str, tmp_path: Path
) -> AsyncIterator[ScriptedWorkers]:
    async with scripted_workers(db, database_url, tmp_path, **QUICK) as made:
        yield made


async def done_before(workers: ScriptedWorkers, run_id: UUID) -> None:
    """Wait until every item before the fault is settled."""

    async def is_settled() -> bool:
        return await workers.harness.results(run_id) == BEFORE

    await until(is_settled, "what comes before to be settled")


async def test_a_killed_workers_chunk_is_finished_by_another(workers: ScriptedWorkers) -> None:
    """After kill -9 in mid-chunk and ``dead_after_seconds``, another worker continues the chunk."""
    run_id = await workers.run(*BEFORE, "HANG-1", *AFTER)
    victim = await workers.start()
    await workers.harness.wait_until_attempted("HANG-1")
    await done_before(workers, run_id)
    await workers.start()
    victim.kill()
    await victim.wait()
    assert await workers.wait_for_end(run_id) == "completed"
    assert await workers.harness.results(run_id) == sorted([*BEFORE, "HANG-1", *AFTER])
    # No settled item was repeated; the item in progress was started once more.
    attempts = [await workers.harness.attempts(item) for item in (*BEFORE, "HANG-1", *AFTER)]
    assert attempts == [1] * len(BEFORE) + [2] + [1] * len(AFTER)
    chunk, row = await workers.chunk(run_id), await workers.row(victim)
    assert (chunk["status"], chunk["deaths"], chunk["crashes"]) == ("done", 1, 0)
    assert row["died"]
    waited = row["waited_seconds"]
    assert isinstance(waited, float)
    assert DEAD_AFTER_SECONDS <= waited <= TAKEN_OVER_SECONDS_MAX


async def test_a_frozen_worker_settles_nothing_when_it_thaws(workers: ScriptedWorkers) -> None:
    """It is taken over like a dead worker though its session lives, and ends when it resumes."""
    harness = workers.harness
    run_id = await workers.run(*BEFORE, "GATE-1", *AFTER)
    frozen = await workers.start()
    await harness.wait_until_attempted("GATE-1")
    await done_before(workers, run_id)
    frozen.send_signal(signal.SIGSTOP)
    await workers.start()
    assert await workers.wait_for_end(run_id) == "completed"
    results = await harness.results(run_id)
    events = await harness.events(run_id)
    await open_gate(harness.database)
    frozen.send_signal(signal.SIGCONT)
    async with asyncio.timeout(20):
        assert await frozen.wait() == 0
    assert await harness.results(run_id) == results == sorted([*BEFORE, "GATE-1", *AFTER])
    assert await harness.events(run_id) == events
    began = await harness.column(
        "SELECT item FROM scripted_attempts WHERE pid = :pid ORDER BY item", pid=frozen.pid
    )
    assert began == [*BEFORE, "GATE-1"]
    chunk = await workers.chunk(run_id)
    assert (chunk["status"], chunk["completed"], chunk["deaths"]) == ("done", len(results), 1)


async def test_a_worker_told_to_end_gives_its_chunk_back(workers: ScriptedWorkers) -> None:
    """On SIGTERM, finished items stay, the chunk is ready at once, and no death is counted."""
    run_id = await workers.run(*BEFORE, "HANG-1", *AFTER)
    ending = await workers.start()
    await workers.harness.wait_until_attempted("HANG-1")
    ending.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await ending.wait() == 0
    assert await workers.harness.results(run_id) == BEFORE
    chunk, row = await workers.chunk(run_id), await workers.row(ending)
    assert (chunk["status"], chunk["owner"], chunk["deaths"]) == ("ready", None, 0)
    assert (row["died"], row["ended_at"] is not None) == (False, True)
    await workers.start()
    assert await workers.wait_for_end(run_id) == "completed"
    assert await workers.harness.results(run_id) == sorted([*BEFORE, "HANG-1", *AFTER])


async def test_a_cut_of_all_connections_costs_nothing(workers: ScriptedWorkers) -> None:
    """When all its sessions die in mid-chunk, the worker continues or releases, and all is done."""
    harness = workers.harness
    run_id = await workers.run(*BEFORE, "GATE-1", *AFTER)
    await workers.start()
    await harness.wait_until_attempted("GATE-1")
    for _ in range(3):
        await harness.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
    await open_gate(harness.database)
    assert await workers.wait_for_end(run_id) == "completed"
    assert await harness.results(run_id) == sorted([*BEFORE, "GATE-1", *AFTER])
    chunk = await workers.chunk(run_id)
    assert (chunk["status"], chunk["crashes"], chunk["last_error"]) == ("done", 0, None), (
        workers.pool.logs()
    )


async def test_a_storm_of_kills_loses_and_doubles_nothing(workers: ScriptedWorkers) -> None:
    """Of two workers one is killed again and again: every item is done once."""
    harness = workers.harness
    items = [f"{kind}-{n:03}" for kind in ("DONE", "RETRY1") for n in range(150)]
    run_id = await workers.run(*items, mode=PipelineMode.TESTING)
    _, victim = await asyncio.gather(workers.start(10), workers.start(10))
    for share in (0.1, 0.4, 0.7):

        async def is_so_far(share: float = share) -> bool:
            return len(await harness.results(run_id)) >= share * len(items)

        await until(is_so_far, f"{share:.0%} of the results")
        victim.kill()
        await victim.wait()
        victim = await workers.start(10)
    assert await workers.wait_for_end(run_id) == "completed"
    assert await harness.results(run_id) == items
    lane = (await harness.lanes(run_id))[METRICS]
    assert (lane.planned, lane.completed, lane.failed) == (300, 300, 0)
    assert (lane.chunks, lane.chunks_done) == (30, 30)


async def test_an_item_that_kills_its_workers_is_isolated(workers: ScriptedWorkers) -> None:
    """It fails as poison after so many deaths, alone; its neighbours are done once."""
    harness, neighbours = workers.harness, [*BEFORE[:3], *AFTER[:3]]
    run_id = await workers.run(*neighbours, "POISON-1", mode=PipelineMode.TESTING)
    deaths = 0
    while await harness.status(run_id) not in ENDED_RUNS:
        worker = await workers.start()

        async def has_changed(worker: Fork = worker) -> bool:
            return not worker.is_running or await harness.status(run_id) in ENDED_RUNS

        await until(has_changed, "a death or the end")
        deaths += not worker.is_running and await worker.wait() == -signal.SIGKILL
    items, results = await harness.items(run_id), await harness.results(run_id)
    assert {i for i, row in items.items() if row["status"] == "failed"} == {"POISON-1"}
    assert items["POISON-1"]["error_category"] == "poison"
    assert results == neighbours
    assert deaths <= SUSPECT_DEATHS + 1 + ALONE_DEATHS_MAX
