"""A run takes result sets that the provider still holds, without buying a search."""

from pathlib import Path
from uuid import UUID

from harness.tables import final_tables
from harness.waiting import until
from harness.world import World, open_world, simulated

from serpline.domain.states import RunStatus

KEYWORDS = b"""keyword,market
best espresso machine,PL
best espresso machine,US
coffee grinder,US
"""
SLOW = {"timing": {"running_seconds": 1.0}}


async def refetch(world: World, run_id: UUID) -> UUID:
    """Start a run in place of another one; returns its id."""
    config = (await world.get(run_id)).config
    given = {**config, "backfill": {"kind": "refetch", "run_id": str(run_id)}}
    return await world.run(**given)


async def test_a_cancelled_runs_result_sets_are_fetched(database_url: str, tmp_path: Path) -> None:
    """The batches of a cancelled run end at the provider. A refetch pays nothing.

    Its figures equal those of a run that was not cancelled, and its searches have the time at which
    the provider made them.
    """
    async with open_world(database_url, tmp_path, KEYWORDS, config=simulated(**SLOW)) as world:
        await world.start_worker()
        first = await world.start(analysis_depth=2)

        async def are_running() -> bool:
            return len(world.sim.log.of("scaleserp", "start_batch")) == 3

        await until(are_running, "the start of three batches")
        await world.services.pipeline.cancel(first)
        spent = world.sim.ledger.spent("scaleserp")
        again = await refetch(world, first)
        assert (await world.get(again)).status is RunStatus.COMPLETED
        assert world.sim.ledger.spent("scaleserp") == spent
        assert len(world.sim.log.of("scaleserp", "create_batch")) == 3
        batches = await world.query(
            "SELECT b.stage, b.status FROM provider_batches b JOIN chunks c ON c.id = b.chunk_id"
            " WHERE c.run_id = :run",
            run=again,
        )
        assert batches == [{"stage": "given", "status": "ingested"}] * 3
        found = await final_tables(world.services.database, again)
        whole = await final_tables(world.services.database, await world.run(analysis_depth=2))
        for name in found:
            assert found[name] == whole[name], name
        ended = {
            result_set.ended_at
            for batch in world.sim.scaleserp.account.batches.values()
            for result_set in batch.result_sets
        }
        times = await world.query(
            "SELECT DISTINCT collected_at FROM serps WHERE run_id = :run", run=again
        )
        assert {row["collected_at"].isoformat(timespec="milliseconds") for row in times} <= {
            at.isoformat(timespec="milliseconds") for at in ended
        }


async def test_what_no_result_set_has_is_not_bought(database_url: str, tmp_path: Path) -> None:
    """A search that failed in the given set fails; it is not searched again."""
    failing = {
        "provider": "scaleserp",
        "operation": "batch_search",
        "fault": "failed_searches",
        "match": {"q": "coffee*"},
    }
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        world.sim.set_faults([failing])
        await world.start_worker()
        first = await world.run(content_types=("news",), analysis_depth=2, retry_attempts=1)
        searches = len(world.sim.log.of("scaleserp", "start_batch"))
        again = await refetch(world, first)
        assert (await world.get(again)).status is RunStatus.COMPLETED_WITH_ERRORS
        lane = await world.lane(again, "serp_collection/news")
        assert (lane.completed, lane.failed) == (2, 1)
        assert len(world.sim.log.of("scaleserp", "start_batch")) == searches
        assert world.sim.log.of("scaleserp", "search") == []
