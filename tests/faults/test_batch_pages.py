"""Page files do not come from the API's host: their failures do not affect it."""

from pathlib import Path

from harness.world import open_world, simulated

from serpline.domain.states import RunStatus

PAGES = 8
BAD = 5
KEYWORDS = "keyword,market\n" + "".join(f"lamp {n:02},PL\n" for n in range(PAGES))


async def test_unreadable_pages_stop_neither_other_pages_nor_the_api(
    database_url: str, tmp_path: Path
) -> None:
    """Five of eight files are broken for good: three return, five searches are bought again.

    Five failures in a row would open a breaker of the API, and one check tries fewer than five.
    """
    broken = {"provider": "scaleserp", "operation": "download", "fault": "malformed"}
    async with open_world(
        database_url,
        tmp_path,
        KEYWORDS.encode(),
        config=simulated(results_per_page=1),
        SERPLINE_BATCH_POLL_SECONDS="0.005",
    ) as world:
        world.sim.set_faults([broken | {"match": {"page": str(n)}} for n in range(1, BAD + 1)])
        await world.start_worker()
        run_id = await world.start(
            content_types=("organic",),
            phases=("keyword_metrics", "serp_collection"),
            retry_attempts=2,
        )
        assert (await world.wait_for_end(run_id)).status is RunStatus.COMPLETED
        lane = await world.lane(run_id, "serp_collection/organic")
        assert (lane.completed, lane.failed) == (PAGES, 0)
        (batch,) = await world.query("SELECT status, received FROM provider_batches")
        assert batch == {"status": "ingested", "received": PAGES - BAD}
        assert len(world.sim.log.of("scaleserp", "search")) == BAD
        urls = [entry.params["url"] for entry in world.sim.log.of("scaleserp", "download")]
        read = [sum(f"_Page_{page}.json" in url for url in urls) for page in range(1, PAGES + 1)]
        assert read[BAD:] == [1] * (PAGES - BAD)
        assert min(read[:BAD]) > 1
        assert await world.query("SELECT * FROM circuit_breaker_events") == []
