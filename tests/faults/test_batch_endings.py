"""A started batch that will bring no results: its searches are bought in another way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from harness.waiting import until
from harness.world import World, open_world, simulated

from serpline.domain.states import RunStatus
from serpline.simulator.scaleserp.batches import Batch, Status

SEARCHES = 6
KEYWORDS = "keyword,market\n" + "".join(f"kettle {n},PL\n" for n in range(SEARCHES))


@asynccontextmanager
async def endless_batch(
    url: str, directory: Path, *, seconds_max: float
) -> AsyncIterator[tuple[World, UUID, Batch]]:
    """A run whose batch is running and does not end during the test."""
    settings = {
        "SERPLINE_BATCH_POLL_SECONDS": "0.1",
        "SERPLINE_BATCH_RUNNING_SECONDS_MAX": str(seconds_max),
    }
    endless = simulated(timing={"running_seconds": 3600.0})
    async with open_world(url, directory, KEYWORDS.encode(), config=endless, **settings) as world:
        await world.start_worker()
        # The second attempt of a search is its last, in real time.
        run_id = await world.start(
            content_types=("organic",),
            phases=("keyword_metrics", "serp_collection"),
            retry_attempts=2,
        )
        account = world.sim.scaleserp.account

        async def running() -> list[Batch]:
            return [b for b in account.batches.values() if b.status is Status.RUNNING]

        (batch,) = await until(running, "the batch to run")
        yield world, run_id, batch


async def assert_bought_in_real_time(world: World, run_id: UUID, reason: str) -> None:
    """Each search returned from one call; the batch was started once, is lost, and has a reason."""
    run = await world.wait_for_end(run_id)
    assert run.status is RunStatus.COMPLETED
    lane = await world.lane(run_id, "serp_collection/organic")
    assert (lane.completed, lane.failed) == (SEARCHES, 0)
    assert len(world.sim.log.of("scaleserp", "search")) == SEARCHES
    assert len(world.sim.log.of("scaleserp", "start_batch")) == 1
    (row,) = await world.query("SELECT status, error_message FROM provider_batches")
    assert row["status"] == "lost"
    assert reason in row["error_message"]


async def test_a_batch_that_runs_for_too_long_is_stopped(database_url: str, tmp_path: Path) -> None:
    """After ``batch_running_seconds_max`` it is stopped at the provider and given up."""
    async with endless_batch(database_url, tmp_path, seconds_max=1) as (world, run_id, batch):
        await assert_bought_in_real_time(world, run_id, "has run for too long")
        assert len(world.sim.log.of("scaleserp", "stop_batch")) == 1
        assert batch.status is Status.IDLE


async def test_a_batch_stopped_by_a_person_is_given_up(database_url: str, tmp_path: Path) -> None:
    """Idle and without a result set for twenty polls, it will never have one."""
    async with endless_batch(database_url, tmp_path, seconds_max=3600) as (world, run_id, batch):
        world.sim.scaleserp.account.stop(batch)
        await assert_bought_in_real_time(world, run_id, "stopped before it had a result")
        assert world.sim.log.of("scaleserp", "stop_batch") == []


async def test_time_in_the_providers_queue_does_not_count(
    database_url: str, tmp_path: Path
) -> None:
    """A batch that queues longer than one may run is waited for, not bought again."""
    slow = simulated(timing={"queued_seconds": 3.0})
    settings = {"SERPLINE_BATCH_RUNNING_SECONDS_MAX": "1.5"}
    async with open_world(
        database_url, tmp_path, KEYWORDS.encode(), config=slow, **settings
    ) as world:
        await world.start_worker()
        run_id = await world.run(
            content_types=("organic",), phases=("keyword_metrics", "serp_collection")
        )
        assert (await world.get(run_id)).status is RunStatus.COMPLETED
        assert world.sim.log.of("scaleserp", "stop_batch") == []
        assert world.sim.ledger.spent("scaleserp") == SEARCHES


async def test_a_batch_stopped_in_the_queue_is_refunded_here_too(
    database_url: str, tmp_path: Path
) -> None:
    """Its start was charged; the provider refunds that, and so do our budgets."""
    waits = simulated(timing={"queued_seconds": 3600.0})
    settings = {
        "SERPLINE_BATCH_POLL_SECONDS": "0.1",
        "SERPLINE_BATCH_RUNNING_SECONDS_MAX": "0.05",
    }
    async with open_world(
        database_url, tmp_path, KEYWORDS.encode(), config=waits, **settings
    ) as world:
        # It is fetched before its start, at once after it, and 0.1 s later. That fetch fails, when
        # the time since the last sight of it in the queue is over.
        fault = {"provider": "scaleserp", "operation": "get_batch", "fault": "500"}
        world.sim.set_faults([fault | {"pattern": "SSF", "times": 1}])
        await world.start_worker()
        run_id = await world.start(
            content_types=("organic",),
            phases=("keyword_metrics", "serp_collection"),
            retry_attempts=2,
        )
        await assert_bought_in_real_time(world, run_id, "HTTP 500")
        assert world.sim.ledger.spent("scaleserp") == SEARCHES
        assert await world.query(
            "SELECT reserved, spent FROM provider_budgets WHERE provider = 'scaleserp'"
            " AND scope LIKE 'run:%'"
        ) == [{"reserved": 0, "spent": SEARCHES}]
