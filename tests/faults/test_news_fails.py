"""A failure stays local: to one content type, one search, one provider's quota, one key.

Real workers run against the simulator, which breaks one thing for good or for a while.
"""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from harness.tables import differences, final_tables
from harness.waiting import until
from harness.world import World, open_world, simulated

from serpline.core.clock import SystemClock
from serpline.domain.names import PhaseName, PipelineMode
from serpline.domain.states import LaneStatus, RunStatus

PAIRS = 4
KEYWORDS = b"""keyword,market
best espresso machine,PL
best espresso machine,US
coffee grinder,PL
coffee grinder,US
"""
DEPTH = 2
TYPED = [phase for phase in PhaseName if phase is not PhaseName.KEYWORD_METRICS]


async def _reports(world: World, run_id: UUID) -> dict[str, dict[str, Any]]:
    rows = await world.query(
        "SELECT phase_name || '/' || content_type AS lane, status, error_message, note,"
        " retry_count FROM pipeline_phase_status WHERE pipeline_execution_id = :run",
        run=run_id,
    )
    return {row["lane"]: row for row in rows}


async def test_a_failed_news_batch_stops_news_only(database_url: str, tmp_path: Path) -> None:
    """News ends failed and blocked with the reason, the others complete; a retry completes it."""
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        refused = {
            "provider": "scaleserp",
            "operation": "create_batch",
            "match": {"searches_type": "news"},
            "fault": "401",
        }
        world.sim.set_faults([refused])
        await world.start_worker()
        run_id = await world.start(analysis_depth=DEPTH)
        run = await world.wait_for_end(run_id)
        assert run.status is RunStatus.COMPLETED_WITH_ERRORS
        assert run.error_message is not None
        assert "serp_collection/news failed" in run.error_message

        lanes = await _reports(world, run_id)
        collection = lanes["serp_collection/news"]
        assert collection["status"] == LaneStatus.FAILED
        assert f"all {PAIRS} items failed" in collection["error_message"]
        assert "Supplied api_key is not valid" in collection["error_message"]
        for phase in TYPED[1:]:
            blocked = lanes[f"{phase}/news"]
            assert blocked["status"] == LaneStatus.BLOCKED
            assert "news" in blocked["error_message"], blocked
            for kind in ("organic", "video"):
                assert lanes[f"{phase}/{kind}"]["status"] == LaneStatus.COMPLETED
        assert lanes["dsi_calculation/all"]["status"] == LaneStatus.COMPLETED
        assert await _types_with_scores(world, run_id) == ["all", "organic", "video"]
        assert [c.reason for c in world.sim.ledger if c.provider == "scaleserp"] == [
            "batch queued"
        ] * 2

        world.sim.set_faults([])
        retried = await world.services.pipeline.retry(run_id)
        assert retried.lanes[0] == "serp_collection/news"
        assert not [lane for lane in retried.lanes if lane.endswith(("/organic", "/video"))]
        run = await world.wait_for_end(run_id)
        assert run.status is RunStatus.COMPLETED
        assert run.error_message is None
        assert await _types_with_scores(world, run_id) == ["all", "news", "organic", "video"]
        finished = await final_tables(world.services.database, run_id)
        undisturbed = await world.run(analysis_depth=DEPTH)
        expected = await final_tables(world.services.database, undisturbed)
        assert _but_for_the_way(finished) == _but_for_the_way(expected)
        assert "Traceback" not in world.pool.logs()


async def _types_with_scores(world: World, run_id: UUID) -> list[str]:
    rows = await world.query(
        "SELECT DISTINCT content_type FROM dsi_scores WHERE run_id = :run ORDER BY 1", run=run_id
    )
    return [row["content_type"] for row in rows]


def _but_for_the_way(tables: Any) -> Any:
    """Tables without how a page was collected: a few searches are repaired in real time."""
    pages = {key: row.replace('"real time"', '"batch"') for key, row in tables["serps"].items()}
    return {**tables, "serps": pages}


async def test_failing_news_searches_use_up_their_attempts(
    database_url: str, tmp_path: Path
) -> None:
    """Searches that fail in the batch and in repair are tried as often as allowed, then fail."""
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        in_batch = {
            "provider": "scaleserp",
            "operation": "batch_search",
            "fault": "failed_searches",
        }
        alone = {
            "provider": "scaleserp",
            "operation": "search",
            "fault": "malformed",
            "work": False,
        }
        news = {"match": {"search_type": "news"}}
        world.sim.set_faults([in_batch | news, alone | news])
        await world.start_worker()
        run_id = await world.start(PipelineMode.TESTING, analysis_depth=DEPTH, retry_attempts=2)
        run = await world.wait_for_end(run_id)
        assert run.status is RunStatus.COMPLETED_WITH_ERRORS
        lanes = await _reports(world, run_id)
        assert lanes["serp_collection/news"]["status"] == LaneStatus.FAILED
        assert lanes["dsi_calculation/news"]["status"] == LaneStatus.BLOCKED
        assert lanes["dsi_calculation/organic"]["status"] == LaneStatus.COMPLETED
        items = await world.query(
            "SELECT i.status, i.attempts, i.error FROM items i JOIN pipeline_phase_status l"
            " ON l.id = i.lane_id WHERE l.phase_name = 'serp_collection'"
            " AND l.content_type = 'news'"
        )
        assert [(row["status"], row["attempts"]) for row in items] == [("failed", 2)] * PAIRS
        assert all(row["error"] for row in items)


async def test_failed_searches_and_missing_records_are_repaired(
    database_url: str, tmp_path: Path
) -> None:
    """A second batch fetches what the first did not bring; the lane completes."""
    # A page file without its records is fetched a few times, after polls that double.
    async with open_world(
        database_url, tmp_path, KEYWORDS, SERPLINE_BATCH_POLL_SECONDS="0.005"
    ) as world:
        broken = {"provider": "scaleserp", "operation": "batch_search", "attempts": 1}
        world.sim.set_faults(
            [
                broken | {"fault": "failed_searches", "match": {"search_type": "web", "gl": "us"}},
                broken | {"fault": "missing_records", "match": {"search_type": "news"}},
                broken | {"fault": "duplicate_custom_id", "match": {"search_type": "videos"}},
            ]
        )
        await world.start_worker()
        phases = ("keyword_metrics", "serp_collection")
        run_id = await world.start(PipelineMode.MANUAL, phases=phases)
        assert (await world.wait_for_end(run_id)).status is RunStatus.COMPLETED
        items = await world.query(
            "SELECT l.content_type, i.attempts, count(*) AS n FROM items i"
            " JOIN pipeline_phase_status l ON l.id = i.lane_id WHERE i.status = 'completed'"
            " AND l.phase_name = 'serp_collection' GROUP BY 1, 2 ORDER BY 1, 2"
        )
        assert [tuple(row.values()) for row in items] == [
            ("news", 1, PAIRS),
            ("organic", 0, PAIRS // 2),
            ("organic", 1, PAIRS // 2),
            ("video", 0, PAIRS),
        ]
        # Half the web searches and all news again; no search that had returned.
        batches = world.sim.scaleserp.account.batches.values()
        searches = Counter((b.fields["searches_type"], len(b.searches)) for b in batches)
        assert searches == {("web", PAIRS): 1, ("web", PAIRS // 2): 1, ("news", PAIRS): 2} | {
            ("videos", PAIRS): 1
        }
        assert world.sim.log.of("scaleserp", "search") == []
        world.sim.set_faults([])
        undisturbed = await world.run(phases=phases)
        finished = _but_for_the_way(await final_tables(world.services.database, run_id))
        expected = await final_tables(world.services.database, undisturbed)
        assert differences(finished, expected) == []


async def test_without_credits_batches_wait_and_use_no_attempt(
    database_url: str, tmp_path: Path
) -> None:
    """Batches wait for credits, with one message, and continue once there are some."""
    account: dict[str, float] = {"scaleserp": 0}
    async with open_world(
        database_url, tmp_path, KEYWORDS, config=simulated(credits=account)
    ) as world:
        await world.start_worker()
        run_id = await world.start(phases=("keyword_metrics", "serp_collection"))

        async def refused_twice() -> bool:
            starts = world.sim.log.of("scaleserp", "start_batch")
            return len(starts) >= 6 and {entry.status for entry in starts} == {402}

        await until(refused_twice, "every batch to be refused a start twice")
        events = await world.query(
            "SELECT content_type, detail->>'reason' AS reason FROM pipeline_events"
            " WHERE event_type = 'batch.waiting' ORDER BY 1"
        )
        assert [row["content_type"] for row in events] == ["news", "organic", "video"]
        assert all("enough credits" in row["reason"] for row in events)
        waits = await world.query(
            "SELECT item, error_category, delay_seconds > 0 AS waited FROM item_retries"
        )
        assert len(waits) >= 3, "each wait of a batch is remembered, under its name"
        assert all(row["item"].startswith("serpline ") for row in waits)
        assert {(row["error_category"], row["waited"]) for row in waits} == {("quota", True)}
        world.sim.ledger.charge("scaleserp", -1_000, "bought", "")
        assert (await world.wait_for_end(run_id)).status is RunStatus.COMPLETED
        items = await world.query(
            "SELECT i.status, sum(i.attempts) AS attempts FROM items i GROUP BY 1"
        )
        assert items == [{"status": "completed", "attempts": 0}]
        charges = [c.reference for c in world.sim.ledger if c.reason == "batch queued"]
        assert len(charges) == len({*charges}) == 3


async def test_a_wrong_key_fails_lanes_without_showing_the_key(
    database_url: str, tmp_path: Path
) -> None:
    """A wrong ScaleSERP key fails each content type at once, with a reason without the key."""
    wrong = "wrong-scaleserp-key-4711"
    async with open_world(
        database_url, tmp_path, KEYWORDS, SERPLINE_SCALESERP_API_KEY=wrong
    ) as world:
        await world.start_worker()
        run_id = await world.start()
        run = await world.wait_for_end(run_id)
        assert run.status is RunStatus.FAILED
        lanes = await _reports(world, run_id)
        assert lanes["keyword_metrics/all"]["status"] == LaneStatus.COMPLETED
        for kind in ("organic", "news", "video"):
            failed = lanes[f"serp_collection/{kind}"]
            assert failed["status"] == LaneStatus.FAILED
            assert "Supplied api_key is not valid" in failed["error_message"]
            assert lanes[f"dsi_calculation/{kind}"]["status"] == LaneStatus.BLOCKED
        texts = [str(row) for row in lanes.values()] + [str(run.error_message), world.pool.logs()]
        rows = await world.query("SELECT error FROM items UNION SELECT error FROM provider_calls")
        texts += [str(row) for row in rows]
        assert not [text for text in texts if wrong in text or "Traceback" in text]
        assert len(world.sim.log.of("scaleserp")) == 3


async def test_a_used_up_quota_delays_and_uses_no_attempt(
    database_url: str, tmp_path: Path
) -> None:
    """Without YouTube quota videos wait for midnight Pacific, unattempted, and then continue."""
    quota: dict[str, float] = {"youtube/general": 0}
    config = simulated(credits=quota)
    async with open_world(database_url, tmp_path, KEYWORDS, config=config) as world:
        await world.start_worker()
        run_id = await world.start(analysis_depth=DEPTH)

        async def waiting() -> list[dict[str, Any]]:
            return await world.query(
                "SELECT c.id, c.next_check_at FROM chunks c"
                " JOIN pipeline_phase_status l ON l.id = c.lane_id"
                " WHERE l.phase_name = 'youtube_enrichment' AND c.status = 'ready'"
                " AND c.next_check_at > now() + interval '30 seconds'"
            )

        [chunk] = await until(waiting, "the videos to wait")
        zone = ZoneInfo("America/Los_Angeles")
        tomorrow = SystemClock().now().astimezone(zone).date() + timedelta(days=1)
        midnight = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone)
        assert abs(chunk["next_check_at"] - midnight) < timedelta(seconds=30)

        async def others_done() -> bool:
            lanes = await _reports(world, run_id)
            return all(
                lanes[f"dsi_calculation/{kind}"]["status"] == LaneStatus.COMPLETED
                for kind in ("organic", "news")
            )

        await until(others_done, "organic and news to complete")
        assert len(world.sim.log.of("youtube")) == 1
        items = await world.query(
            "SELECT i.status, sum(i.attempts) AS attempts FROM items i"
            " JOIN pipeline_phase_status l ON l.id = i.lane_id"
            " WHERE l.phase_name = 'youtube_enrichment' GROUP BY 1"
        )
        assert items == [{"status": "pending", "attempts": 0}]
        assert (await world.lane(run_id, "youtube_enrichment/video")).status == LaneStatus.RUNNING

        # Midnight: the quota is reset, and items that waited for midnight are due.
        quota["youtube/general"] = 10_000
        await world.query("UPDATE provider_rates SET paused_until = now()")
        await world.query("UPDATE chunks SET next_check_at = now() WHERE status = 'ready'")
        assert (await world.wait_for_end(run_id)).status is RunStatus.COMPLETED
        assert world.sim.ledger.spent("youtube") == 2
