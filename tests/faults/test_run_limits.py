"""The budgets and failure limits of a run and its schedule, on whole runs."""

from pathlib import Path
from typing import Any

from harness.waiting import until
from harness.world import open_world, simulated

from serpline.domain.names import PipelineMode
from serpline.domain.states import RunStatus
from serpline.robustness.breakers import CircuitBreakerManager

KEYWORDS = b"keyword,market\ncoffee grinder,PL\ncoffee grinder,US\nbest espresso machine,US\n"
STRICT = {"failure_threshold": 2, "timeout_seconds": 3600}
LAX = {"failure_threshold": 9, "timeout_seconds": 30}


async def test_a_run_with_a_spent_budget_ends_with_the_reason(
    database_url: str, tmp_path: Path
) -> None:
    """Two credits for three searches: no batch starts, and the items fail with the reason."""
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        run_id = await world.start(content_types=["news"], credit_limits={"scaleserp": 2})
        run = await world.wait_for_end(run_id)
        assert run.status is RunStatus.FAILED
        errors = await world.query("SELECT DISTINCT error FROM items WHERE error IS NOT NULL")
        assert errors == [{"error": "the run's credit limit for scaleserp is spent"}]
        assert world.sim.ledger.spent("scaleserp") == 0
        enough = await world.start(content_types=["news"], credit_limits={"scaleserp": 3})
        assert (await world.wait_for_end(enough)).status is RunStatus.COMPLETED
        assert world.sim.ledger.spent("scaleserp") == 3


async def test_batches_behind_a_too_expensive_one_fail_with_it(
    database_url: str, tmp_path: Path
) -> None:
    """The third stage's first batch of 25 exceeds the budget: it and later ones fail at once."""
    searches, attempts = 60, 4
    words = "keyword,market\n" + "".join(f"mug {n:02},PL\n" for n in range(searches))
    fails = {"provider": "scaleserp", "operation": "batch_search", "fault": "failed_searches"}
    async with open_world(database_url, tmp_path, words.encode()) as world:
        world.sim.set_faults([fails])
        await world.start_worker()
        run_id = await world.start(
            content_types=["organic"],
            phases=["keyword_metrics", "serp_collection"],
            retry_attempts=attempts,
            credit_limits={"scaleserp": 2 * searches + 5},
        )
        assert (await world.wait_for_end(run_id, seconds=40)).status is RunStatus.FAILED
        assert world.sim.ledger.spent("scaleserp") == 2 * searches
        assert len(world.sim.log.of("scaleserp", "start_batch")) == 2
        errors = await world.query(
            "SELECT error, count(*) AS n FROM items WHERE error IS NOT NULL GROUP BY 1"
        )
        error = "the run's credit limit for scaleserp is spent"
        assert errors == [{"error": error, "n": searches}]


async def test_a_batch_is_started_only_if_its_stated_price_fits_the_days_budget(
    database_url: str, tmp_path: Path
) -> None:
    """40 searches at two credits each: a day's budget of 50 spends nothing, and the batch waits.

    A warning reports that its price exceeds the estimate. A worker that starts with a higher budget
    wakes it.
    """
    words = "keyword,market\n" + "".join(f"mug {n:02},PL\n" for n in range(40))
    config = simulated(search_credits=2)
    async with open_world(database_url, tmp_path, words.encode(), config=config) as world:
        small = '{"scaleserp": 50}'
        worker = await world.start_worker(SERPLINE_CREDITS_PER_DAY=small)
        run_id = await world.start(
            content_types=["organic"], phases=["keyword_metrics", "serp_collection"]
        )

        async def waits() -> list[dict[str, Any]]:
            return await world.query(
                "SELECT event_type, detail FROM pipeline_events"
                " WHERE event_type IN ('batch.waiting', 'batch.price_above_estimate') ORDER BY id"
            )

        async def is_waiting() -> bool:
            rows = await world.query("SELECT 1 FROM chunks WHERE waits_on IS NOT NULL")
            return bool(rows) and len(await waits()) == 2

        await until(is_waiting, "the batch to wait on the budget")
        price, waiting = await waits()
        assert (price["detail"]["estimate"], price["detail"]["price"]) == (40, 80)
        assert "budget of day:" in waiting["detail"]["reason"]
        assert "allows 50 credits, and this call costs 80" in waiting["detail"]["reason"]
        assert "SERPLINE_CREDITS_PER_DAY" in waiting["detail"]["reason"]
        assert world.sim.ledger.spent("scaleserp") == 0
        assert (await world.get(run_id)).status is RunStatus.RUNNING
        await worker.end(15)
        await world.start_worker(SERPLINE_CREDITS_PER_DAY='{"scaleserp": 100}')
        run = await world.wait_for_end(run_id, seconds=60)
        assert run.status is RunStatus.COMPLETED
        assert world.sim.ledger.spent("scaleserp") == 80
        failed = await world.query("SELECT 1 FROM item_retries")
        assert failed == [], "a wait is no attempt"


async def test_an_incident_delays_and_costs_nothing(database_url: str, tmp_path: Path) -> None:
    """Searches ask to be refused during an incident; a refusal costs no attempt and no credit."""
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        incident = {"provider": "scaleserp", "operation": "search", "fault": "503"}
        world.sim.set_faults([{**incident, "retry_after": 1, "attempts": 1}])
        await world.start_worker()
        run_id = await world.start(
            content_types=["news"],
            phases=["keyword_metrics", "serp_collection"],
            retry_attempts=1,
            realtime_searches_max=100,
        )
        assert (await world.wait_for_end(run_id, seconds=60)).status is RunStatus.COMPLETED
        assert await world.query("SELECT 1 FROM item_retries") == []
        assert world.sim.ledger.spent("scaleserp") == 3
        asked = {e.params.get("skip_on_incident") for e in world.sim.log.of("scaleserp", "search")}
        assert asked == {"all"}


async def test_a_schedules_stricter_breaker_opens_by_itself(
    database_url: str, tmp_path: Path
) -> None:
    """Two news failures stop this schedule's news; the shared breaker stays closed.

    Organic goes on under its own breaker, with its own settings, and uses no attempt. Video has
    none.
    """
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        fault = {
            "provider": "scaleserp",
            "operation": "search",
            "match": {"search_type": "news"},
            "fault": "500",
        }
        world.sim.set_faults([fault])
        await world.start_worker()
        run_id = await world.start(
            PipelineMode.SCHEDULED,
            content_types=["organic", "news", "video"],
            realtime_searches_max=100,
            schedule="nightly",
            lanes={"news": {"circuit_breaker": STRICT}, "organic": {"circuit_breaker": LAX}},
        )

        async def states() -> dict[str, str]:
            rows = await world.query("SELECT name, state FROM circuit_breakers")
            return {row["name"]: row["state"] for row in rows}

        async def is_open() -> bool:
            return (await states()).get("scale_serp_api@nightly/news") == "open"

        async def others_are_done() -> bool:
            lanes = [await world.lane(run_id, f"serp_collection/{k}") for k in ("organic", "video")]
            return [lane.completed for lane in lanes] == [3, 3]

        await until(is_open, "the schedule's breaker to open")
        await until(others_are_done, "the other results")
        searched = {k: v for k, v in (await states()).items() if k.startswith("scale_serp_api")}
        assert searched == {
            "scale_serp_api": "closed",
            "scale_serp_api@nightly/news": "open",
            "scale_serp_api@nightly/organic": "closed",
        }
        own = await world.query(
            "SELECT settings -> 'failure_threshold' AS failure_threshold,"
            " settings -> 'timeout_seconds' AS timeout_seconds FROM circuit_breakers"
            " WHERE name LIKE '%@%' ORDER BY name"
        )
        assert own == [STRICT, LAX]
        attempts = await world.query(
            "SELECT DISTINCT i.attempts FROM items i JOIN pipeline_phase_status l"
            " ON l.id = i.lane_id WHERE l.content_type IN ('organic', 'video')"
        )
        assert attempts == [{"attempts": 0}]
        settings = await world.query(
            "SELECT b.settings_at = r.created_at AS by_the_run FROM circuit_breakers b,"
            " pipeline_executions r WHERE b.name = 'scale_serp_api@nightly/news'"
        )
        assert settings == [{"by_the_run": True}], "its settings are as old as the run"
        failed = [e for e in world.sim.log.of("scaleserp", "search") if e.fault == "500"]
        assert len(failed) <= 3, "two failures and what was in flight"
        world.sim.set_faults([])
        services = world.services
        await CircuitBreakerManager(services.database, services.clock).reset(
            "scale_serp_api@nightly/news"
        )
        assert (await world.wait_for_end(run_id)).status is RunStatus.COMPLETED
