"""News that fail with their own settings leave organic and video with theirs, number by number.

One schedule, one run, real workers against the simulator.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from harness.schedules import start_scheduled
from harness.tables import Tables, differences, final_tables
from harness.world import World, open_world

from serpline.domain.states import RunStatus
from serpline.scheduling.spec import ScheduleSpec

KEYWORDS = b"""keyword,market
best espresso machine,PL
best espresso machine,US
coffee grinder,PL
coffee grinder,US
"""
DAILY = {"frequency": "daily", "time_of_day": "09:00"}
NEWS = {
    "content_type": "news",
    "retry_attempts": 1,
    "phase_retries": 2,
    "batch_size": 3,
    "priority": "high",
    "min_collected_ratio": 0,
}
ORGANIC = {
    "content_type": "organic",
    "retry_attempts": 4,
    "phase_retries": 0,
    "batch_size": 2,
}
VIDEO = {"content_type": "video", "batch_size": "unlimited", "priority": "low"}
SPECS = [ScheduleSpec.from_json({**DAILY, **one}) for one in (NEWS, ORGANIC, VIDEO)]
NINE = datetime(2026, 11, 30, 9, tzinfo=UTC)
FAILS = {"provider": "scaleserp", "operation": "batch_search", "fault": "failed_searches"}
NEWS_FAIL = {**FAILS, "match": {"search_type": "news"}}
ORGANIC_FAIL_ONCE = {**FAILS, "match": {"search_type": "web"}, "attempts": 1}


async def test_failing_news_change_no_number_of_the_others(
    database_url: str, tmp_path: Path
) -> None:
    """News use up their one attempt and two phase retries, in batches of three.

    Organic makes its second attempt, in batches of two, and video its first, exactly as in a run
    whose news succeed. Results of both are equal, row for row.
    """
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        world.sim.set_faults([ORGANIC_FAIL_ONCE])
        good = await _slot(world, NINE - timedelta(days=1))
        assert (await world.get(good)).status is RunStatus.COMPLETED
        # The simulator counts the attempts of a search over both runs; two were made.
        world.sim.set_faults([{**ORGANIC_FAIL_ONCE, "attempts": 3}, NEWS_FAIL])
        bad = await _slot(world, NINE)

        run = await world.get(bad)
        assert run.status is RunStatus.COMPLETED_WITH_ERRORS
        assert run.error_message is not None
        assert "serp_collection/news failed" in run.error_message
        assert "searches collected" not in run.error_message, "news need not collect any"
        found, expected = await _numbers(world, bad), await _numbers(world, good)
        assert found["organic"] == {
            "items": [("completed", 1)] * 4,
            "retries": 0,
            "batches": [*[("first", "normal", 2)] * 2, *[("again", "normal", 2)] * 2],
        }
        assert found["video"] == {
            "items": [("completed", 0)] * 4,
            "retries": 0,
            "batches": [("first", "low", 4)],
        }
        assert found["news"] == {
            "items": [("failed", 1)] * 4,
            "retries": 2,
            "batches": [("first", "high", 1), ("first", "high", 3)] * 3,
        }
        for kind in ("organic", "video"):
            assert found[kind] == expected[kind]
        expected_tables = await final_tables(world.services.database, good)
        tables = await final_tables(world.services.database, bad)
        assert differences(_others(tables), _others(expected_tables)) == []


async def _slot(world: World, instant: datetime) -> UUID:
    [run_id] = await start_scheduled(world.services.pipeline, "daily", SPECS, instant)
    await world.wait_for_end(run_id)
    return run_id


async def _numbers(world: World, run_id: UUID) -> dict[str, dict[str, Any]]:
    """What each content type's searches used: attempts, phase retries, batches in their order."""
    items = await world.query(
        "SELECT l.content_type, i.status, i.attempts FROM items i JOIN pipeline_phase_status l"
        " ON l.id = i.lane_id WHERE l.phase_name = 'serp_collection'"
        " AND l.pipeline_execution_id = :run",
        run=run_id,
    )
    batches = await world.query(
        "SELECT l.content_type, b.stage, b.priority, cardinality(b.items) AS searches"
        " FROM provider_batches b JOIN chunks c ON c.id = b.chunk_id"
        " JOIN pipeline_phase_status l ON l.id = c.lane_id WHERE c.run_id = :run"
        " ORDER BY b.generation, searches",
        run=run_id,
    )
    numbers: dict[str, dict[str, Any]] = {}
    for kind in ("organic", "news", "video"):
        lane = await world.lane(run_id, f"serp_collection/{kind}")
        numbers[kind] = {
            "items": [(r["status"], r["attempts"]) for r in items if r["content_type"] == kind],
            "retries": lane.retry_count,
            "batches": [
                (r["stage"], r["priority"], r["searches"])
                for r in batches
                if r["content_type"] == kind
            ],
        }
    return numbers


def _others(tables: Tables) -> Tables:
    """The rows of organic and video."""
    kept = ("serps", "serp_results", "content_analyses", "dsi_scores")
    return {
        name: {
            key: row for key, row in tables[name].items() if '"organic"' in key or '"video"' in key
        }
        for name in kept
    }
