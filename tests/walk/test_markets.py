"""A market that one provider does not support loses that provider's data only."""

from pathlib import Path

from harness.world import open_world

from serpline.simulator.wikidata_items import name_languages

KEYWORDS = "\n".join(
    ["keyword,market", *(f"coffee {n},{market}" for market in ("AL", "XK") for n in range(12))]
).encode()


async def test_a_market_without_a_language_at_dataforseo_has_volumes(
    database_url: str, tmp_path: Path
) -> None:
    """Albania's volumes are bought in one call; Kosovo has no location: unknown, without a call."""
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        run_id = await world.run(phases=("keyword_metrics",))
        rows = await world.query(
            "SELECT market, source, count(*) AS pairs, count(search_volume) AS known"
            " FROM keyword_metrics WHERE run_id = :run GROUP BY 1, 2",
            run=run_id,
        )
        found = {row["market"]: row for row in rows}
        assert (found["AL"]["source"], found["AL"]["pairs"]) == ("dataforseo", 12)
        assert found["AL"]["known"] > 0
        assert (found["XK"]["source"], found["XK"]["known"]) == ("none", 0)
        (call,) = world.sim.log.of("dataforseo", "search_volume")
        assert call.params["language_code"] is None


async def test_a_company_may_have_a_name_in_the_markets_language_only(
    database_url: str, tmp_path: Path
) -> None:
    """Names are read in English, the default and the markets' languages, not in Japanese."""
    pairs = (f"reise {n},{market}" for n in range(40) for market in ("DE", "FR", "PL"))
    keywords = "\n".join(["keyword,market", *pairs]).encode()
    async with open_world(database_url, tmp_path, keywords) as world:
        await world.start_worker()
        run_id = await world.run(
            phases=("keyword_metrics", "serp_collection", "company_enrichment_serp"),
            content_types=("organic",),
        )
        rows = await world.query(
            "SELECT domain, name FROM company_profiles WHERE run_id = :run AND source = 'wikidata'",
            run=run_id,
        )
        directory, seed = world.sim.world.directory.by_domain, world.sim.world.seed
        written = {row["domain"]: name_languages(seed, directory[row["domain"]]) for row in rows}
        assert {("mul",), ("ja",)} <= set(written.values())
        assert {("de",), ("fr",), ("pl",)} & set(written.values())
        for row in rows:
            known = {"en", "mul", "de", "fr", "pl"} & set(written[row["domain"]])
            assert row["name"] == (directory[row["domain"]].name if known else row["domain"])
