"""A whole run with hostile text in every provider's replies."""

from pathlib import Path

import pytest
from harness.world import open_world, simulated

from serpline.domain.names import PipelineMode

KEYWORDS = b"keyword,market\nespresso,US\ncoffee grinder,US\nmoka pot,PL\ndecaf,DE\n"
HOSTILE = [
    *(
        {"fault": "hostile_text", "provider": each}
        for each in ("scaleserp", "dataforseo", "pdl", "wikidata", "youtube", "pages")
    ),
    {"fault": "hostile_text", "provider": "llm", "probability": 0.3},
]


@pytest.mark.parametrize("realtime", [0, 100], ids=["batches", "real time"])
async def test_hostile_text_fails_its_own_items(
    database_url: str, tmp_path: Path, realtime: int
) -> None:
    """The run ends with its DSI; no chunk crashes, nothing is paid twice, nothing raises."""
    config = simulated(faults=HOSTILE)
    async with open_world(database_url, tmp_path, KEYWORDS, config=config) as world:
        await world.start_worker()
        run_id = await world.start(
            PipelineMode.TESTING, analysis_depth=3, realtime_searches_max=realtime
        )
        await world.wait_for_end(run_id)
        run = await world.get(run_id)
        assert run.status in ("completed", "completed_with_errors")
        lanes = await world.lanes(run_id)
        assert sum(lane.completed for lane in lanes if lane.key.phase == "dsi_calculation") > 0
        logs = world.pool.logs()
        assert "Traceback" not in logs
        raised = await world.query(
            "SELECT item, error FROM item_retries WHERE error_category = 'internal'"
        )
        assert raised == []
        assert await world.query("SELECT * FROM dead_letters") == []
        answered_twice = await world.query(
            "SELECT operation, count(*) FROM provider_calls WHERE status = 'ok' AND credits > 0"
            " GROUP BY key, operation HAVING count(*) > 1"
        )
        assert answered_twice == []
