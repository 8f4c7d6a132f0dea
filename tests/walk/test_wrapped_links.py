"""Results whose links lead through Google, an AMP cache or a translator are their publishers'."""

from pathlib import Path

from harness.world import open_world, simulated

KEYWORDS = "\n".join(["keyword,market", *(f"coffee {n},US" for n in range(12))]).encode()
TYPES = ("organic", "video")


async def test_wrapped_results_belong_to_their_publishers(
    database_url: str, tmp_path: Path
) -> None:
    """With every link wrapped, the same domains and videos rank; none is Google's."""
    async with open_world(database_url, tmp_path, KEYWORDS, config=simulated()) as world:
        await world.start_worker()
        seen = []
        for plan in ([], [{"fault": "wrapped_links", "provider": "scaleserp"}]):
            world.sim.set_faults(plan)
            run_id = await world.run(
                phases=("keyword_metrics", "serp_collection"), content_types=TYPES
            )
            rows = await world.query(
                "SELECT content_type, keyword_id, rank, domain, video_id FROM serp_results"
                " WHERE run_id = :run ORDER BY 1, 2, 3",
                run=run_id,
            )
            assert rows
            seen.append(rows)
        assert seen[0] == seen[1]
        links = await world.query(
            "SELECT count(*) AS n FROM serp_results WHERE run_id = :run AND url ~ 'ampproject'",
            run=run_id,
        )
        assert links[0]["n"] > 0
