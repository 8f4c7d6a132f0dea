"""The server's clock is set during a run, and the run continues unaffected."""

from pathlib import Path

import pytest
from harness.clock_steps import set_clock_back
from harness.waiting import until
from harness.world import World, open_world, paid, simulated

from serpline.domain.states import RunStatus
from serpline.store.database import Database, TransactionConflict

KEYWORDS = b"keyword,market\nbest espresso machine,US\ncoffee grinder,US\n"
HOUR = 3600.0


async def step(world: World, seconds: float) -> None:
    """Set the clock back beside a worker at work, whose transactions come before it or after."""
    while True:
        try:
            await set_clock_back(world.services.database, seconds)
            return
        except TransactionConflict:
            continue


@pytest.mark.parametrize("seconds", [HOUR, -72 * HOUR])
async def test_a_clock_step_during_a_batch_changes_nothing(
    db: Database, database_url: str, tmp_path: Path, seconds: float
) -> None:
    """An hour back or three days ahead: the batch is fetched once and the run completes."""
    config = simulated(timing={"running_seconds": 3.0})
    async with open_world(database_url, tmp_path, KEYWORDS, config=config) as world:
        run_id = await world.start(content_types=("news",))
        await world.start_worker()

        async def is_running() -> bool:
            rows = await world.query("SELECT 1 FROM provider_batches WHERE status = 'running'")
            return bool(rows)

        await until(is_running, "the batch to run")
        await step(world, seconds)
        run = await world.wait_for_end(run_id, seconds=60)
        bought = paid(world.sim.log.entries)
        assert run.status is RunStatus.COMPLETED
        assert set(bought.values()) == {1}
        assert "waits.cut" in world.pool.logs() if seconds > 0 else True
