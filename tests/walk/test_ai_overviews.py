"""AI overviews are optional, cost one more credit, and are asked for organic searches only."""

from pathlib import Path

from harness.world import World, open_world

KEYWORDS = "\n".join(
    ["keyword,market", *(f"{word} {n},US" for word in ("grinder", "kettle") for n in range(8))]
).encode()
PAIRS = 16
PHASES = ("keyword_metrics", "serp_collection")
TYPES = ("organic", "news")


async def _collected(world: World, **config: object) -> tuple[float, dict[str, int], list[str]]:
    """What the searches of a run cost, how many pages of each type show an overview, and of which
    types it is not known."""
    before = world.sim.ledger.spent("scaleserp")
    run_id = await world.run(phases=PHASES, content_types=TYPES, **config)
    rows = await world.query(
        "SELECT content_type, count(*) FILTER (WHERE ai_overview) AS shown,"
        " count(*) FILTER (WHERE ai_overview IS NULL) AS unknown, count(*) AS pages"
        " FROM serps WHERE run_id = :run GROUP BY content_type",
        run=run_id,
    )
    assert {row["content_type"]: row["pages"] for row in rows} == dict.fromkeys(TYPES, PAIRS)
    cost = world.sim.ledger.spent("scaleserp") - before
    assert {row["unknown"] for row in rows} <= {0, PAIRS}
    unknown = sorted(row["content_type"] for row in rows if row["unknown"])
    return cost, {row["content_type"]: row["shown"] for row in rows}, unknown


async def test_an_overview_is_seen_when_it_is_asked_for(database_url: str, tmp_path: Path) -> None:
    """Each organic search costs one more credit, in a batch and in real time.

    If it was not asked for, the presence of an overview is unknown.
    """
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        assert await _collected(world) == (
            2 * PAIRS,
            {"organic": 0, "news": 0},
            ["news", "organic"],
        )
        cost, shown, unknown = await _collected(world, include_ai_overview=True)
        assert cost == 3 * PAIRS
        assert 0 < shown["organic"] < PAIRS
        assert shown["news"] == 0
        assert unknown == ["news"]
        again = await _collected(world, include_ai_overview=True, realtime_searches_max=100)
        assert again == (cost, shown, unknown)
