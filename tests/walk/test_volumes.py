"""Keywords without a volume cost their neighbours no volume and no search."""

from pathlib import Path

from harness.world import open_world, simulated

from serpline.domain.states import RunStatus

# The provider's limit per minute is tested elsewhere, and would take minutes here.
UNLIMITED = simulated(limits={"dataforseo": None})
INNOCENT = [f"mug {n:02}" for n in range(40)]
REFUSED = ["is a mug (big) ok?", "mug \U0001f600", " ".join(["mug"] * 11), "m" * 81]
RESTRICTED = ["cocaine mug", "heroin mug"]
VOLUMES = (
    "SELECT k.keyword, m.search_volume, m.unknown_reason FROM keyword_metrics m"
    " JOIN keywords k ON k.id = m.keyword_id WHERE m.run_id = :run ORDER BY k.id"
)


def _csv(words: list[str]) -> bytes:
    return ("keyword,market\n" + "".join(f"{word},US\n" for word in words)).encode()


async def test_keywords_without_volume_fail_nothing(database_url: str, tmp_path: Path) -> None:
    """Refused keywords are not sent; restricted ones are found by halving; each row has its reason.

    The other keywords have the volumes that they have without these, in few calls, and all keywords
    are searched.
    """
    words = [*INNOCENT[:7], REFUSED[0], *INNOCENT[7:20], *RESTRICTED, *INNOCENT[20:], *REFUSED[1:]]
    async with open_world(database_url, tmp_path, _csv(words), config=UNLIMITED) as world:
        await world.start_worker()
        phases = ["keyword_metrics", "serp_collection"]
        run_id = await world.run(content_types=["news"], phases=phases)
        assert (await world.get(run_id)).status is RunStatus.COMPLETED
        assert (await world.lane(run_id, "serp_collection/news")).completed == len(words)
        rows = {row["keyword"]: row for row in await world.query(VOLUMES, run=run_id)}
        assert set(rows) == set(words)
        for word in [*REFUSED, *RESTRICTED]:
            assert rows[word]["search_volume"] is None, word
            assert rows[word]["unknown_reason"], word
        calls = len(world.sim.log.of("dataforseo"))
        assert calls <= 25
        assert all(e.status == 200 for e in world.sim.log.of("dataforseo"))

        # The same without the restricted ones: the stored answers serve, and nothing is asked.
        again = await world.run(content_types=["news"], phases=phases)
        assert len(world.sim.log.of("dataforseo")) == calls
        assert await world.query(VOLUMES, run=again) == await world.query(VOLUMES, run=run_id)
        fresh = await world.run(content_types=["news"], phases=phases, force_refresh=True)
        assert await world.query(VOLUMES, run=fresh) == await world.query(VOLUMES, run=run_id)
        known = [word for word in INNOCENT if rows[word]["search_volume"] is not None]
        assert len(known) > len(INNOCENT) // 2


async def test_a_named_keyword_is_set_apart_in_one_call(database_url: str, tmp_path: Path) -> None:
    """A keyword that only the provider refuses costs two calls and no other keyword's volume."""
    words = [*INNOCENT[:10], "mug ¡ola", *INNOCENT[10:]]
    async with open_world(database_url, tmp_path, _csv(words), config=UNLIMITED) as world:
        await world.start_worker()
        run_id = await world.run(
            content_types=["news"], phases=["keyword_metrics", "serp_collection"]
        )
        assert (await world.get(run_id)).status is RunStatus.COMPLETED
        rows = {row["keyword"]: row for row in await world.query(VOLUMES, run=run_id)}
        assert "mug ¡ola" in (rows["mug ¡ola"]["unknown_reason"] or "")
        assert len(world.sim.log.of("dataforseo")) == 3
        assert sum(row["search_volume"] is not None for row in rows.values()) > 20


async def test_a_failed_volume_lane_stops_no_search(database_url: str, tmp_path: Path) -> None:
    """DataForSEO refuses the account: searches and figures complete, the run names the failure."""
    async with open_world(database_url, tmp_path, _csv(INNOCENT[:3])) as world:
        world.sim.set_faults([{"provider": "dataforseo", "fault": "401"}])
        await world.start_worker()
        run_id = await world.run(content_types=["news"])
        assert (await world.get(run_id)).status is RunStatus.COMPLETED_WITH_ERRORS
        lanes = {str(lane.key): str(lane.status) for lane in await world.lanes(run_id)}
        assert lanes.pop("keyword_metrics/all") == "failed"
        assert set(lanes.values()) == {"completed"}
        assert await world.query("SELECT count(*) AS n FROM dsi_scores") != [{"n": 0}]
