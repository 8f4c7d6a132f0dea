"""A recomputation repeats a run from its stored replies, without a call."""

from pathlib import Path
from uuid import UUID

from harness.tables import final_tables
from harness.waiting import until
from harness.world import World, open_world

from serpline.domain.names import PipelineMode
from serpline.domain.states import RunStatus
from serpline.imports.reading import parse_keywords
from serpline.store import projects

KEYWORDS = b"""keyword,market
best espresso machine,PL
best espresso machine,US
coffee grinder,US
"""
LATER = b"keyword,market\nmoka pot,US\n"


async def recompute(world: World, run_id: UUID) -> UUID:
    """Recompute a run with its own configuration; returns the new run's id."""
    config = (await world.get(run_id)).config
    given = {**config, "backfill": {"kind": "recompute", "run_id": str(run_id)}}
    again = await world.start(PipelineMode.SCHEDULED, **given)
    await world.wait_for_end(again)
    return again


async def test_a_recomputation_makes_no_call_and_gives_equal_rows(
    database_url: str, tmp_path: Path
) -> None:
    """Every table but the times of purchase is equal, for the keywords of then.

    The run before bought some of the data, and a run since then bought all of it again.
    """
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        await world.run(analysis_depth=2, content_types=("news",))
        first = await world.run(analysis_depth=2)
        async with world.services.database.transaction() as conn:
            await projects.import_keywords(conn, parse_keywords(LATER).require_clean().rows)
        await world.run(analysis_depth=2, force_refresh=True)
        calls = len(world.sim.log)
        again = await recompute(world, first)
        assert len(world.sim.log) == calls
        assert (await world.get(again)).status is RunStatus.COMPLETED
        expected = await final_tables(world.services.database, first)
        found = await final_tables(world.services.database, again)
        for name in expected:
            assert found[name] == expected[name], name


async def test_what_has_no_stored_reply_is_skipped(database_url: str, tmp_path: Path) -> None:
    """Without the files of its batches a run is recomputed to nothing, and each search says why."""
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        first = await world.run(analysis_depth=2, content_types=("organic",))
        await world.query(
            "DELETE FROM raw_replies r USING provider_calls c WHERE c.id = r.call_id"
            " AND c.operation = 'page_file'"
        )
        calls = len(world.sim.log)
        again = await recompute(world, first)
        assert len(world.sim.log) == calls
        run = await world.get(again)
        assert run.status is RunStatus.COMPLETED_WITH_ERRORS
        assert run.error_message == "organic: 0 of 3 searches collected"
        lane = await world.lane(again, "serp_collection/organic")
        assert (lane.planned, lane.completed, lane.skipped) == (3, 0, 3)
        reasons = await world.query(
            "SELECT error FROM items WHERE lane_id = :lane AND status = 'skipped'", lane=lane.id
        )
        assert len(reasons) == 3
        for row in reasons:
            assert row["error"].endswith(
                "scaleserp search: no reply is stored, and no call is made"
            )


async def test_an_unfinished_run_is_recomputed_from_what_it_has(
    database_url: str, tmp_path: Path
) -> None:
    """A run that was cancelled after its searches gets the figures that its replies allow.

    Its pages were never fetched, so no relevance is known. Companies that were bought since then
    are known.
    """
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        world.sim.set_faults([{"provider": "pages", "fault": "slow", "seconds": 60}])
        await world.start_worker()
        first = await world.start(analysis_depth=2, content_types=("organic",))

        async def is_analysing() -> bool:
            return bool(world.sim.log.of("page")) or bool(
                (await world.lane(first, "content_analysis/organic")).planned
            )

        await until(is_analysing, "the first page")
        await world.services.pipeline.cancel(first)
        again = await recompute(world, first)
        # The cancelled run may still have made calls meanwhile.
        made = await world.query("SELECT 1 FROM provider_calls WHERE run_id = :run", run=again)
        assert made == []
        assert (await world.get(again)).status is RunStatus.COMPLETED
        scores = await world.query(
            "SELECT coverage, relevance, dsi FROM dsi_scores WHERE run_id = :run", run=again
        )
        assert len(scores) > 5
        assert {row["relevance"] for row in scores} == {None}
        lane = await world.lane(again, "content_analysis/organic")
        assert lane.skipped == lane.planned > 0
