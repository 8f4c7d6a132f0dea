"""Phases without a provider are skipped at once, and a retry collects them once one is set up."""

import asyncio
from collections.abc import AsyncIterator, Collection
from uuid import UUID

import pytest
from harness.inline import NEWS, Harness, open_harness
from harness.scripted import script
from harness.waiting import until

from serpline.domain.errors import UserError
from serpline.domain.names import PhaseName
from serpline.domain.phase_inputs import PHASE_INPUTS, lack_of
from serpline.domain.phases import LaneKey, lanes_of
from serpline.domain.providers import SET_UP
from serpline.domain.states import LaneStatus
from serpline.store.database import Database
from serpline.store.runs import planning

METRICS, SERP, COMPANIES, YOUTUBE, OWNERS, ANALYSIS, DSI = PhaseName
KEYLESS = ("wikidata",)
ITEMS = {key: [f"DONE-{key}"] for key in lanes_of([NEWS])}


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


async def set_providers(harness: Harness, providers: Collection[str]) -> None:
    """As after a restart of all workers with other settings."""
    harness.lifeline.providers = frozenset(providers)
    await harness.query("UPDATE workers SET providers = :given", given=sorted(providers))


async def notes(harness: Harness, run_id: UUID) -> dict[str, str]:
    """The notes of the lanes that were skipped, by phase."""
    rows = await harness.query(
        "SELECT phase_name, note FROM pipeline_phase_status"
        " WHERE pipeline_execution_id = :run AND status = 'skipped'",
        run=run_id,
    )
    return {row["phase_name"]: row["note"] for row in rows}


async def test_a_phase_without_a_provider_is_skipped_and_collected_later(harness: Harness) -> None:
    """It is skipped before anything starts, with the reason. The run completes and says so.

    Once the key is set, a retry works on it and on what reads it, and on nothing else.
    """
    await set_providers(harness, {"scaleserp", *KEYLESS})
    run_id = await harness.start(ITEMS, content_types=(NEWS,))
    await harness.orchestrator.advance_and_plan(run_id)
    unset = {METRICS, YOUTUBE, ANALYSIS}
    assert await notes(harness, run_id) == {
        str(phase): lack_of(phase, {"scaleserp", *KEYLESS}) for phase in unset
    }
    assert await harness.drive(run_id) == "completed"
    assert [await harness.attempts(f"DONE-{phase}/news") for phase in sorted(unset)] == [0, 0, 0]
    assert await harness.attempts("DONE-dsi_calculation/news") == 1
    ended = "SELECT detail FROM pipeline_events WHERE event_type = 'run.completed'"
    assert len((await harness.one(ended))["skipped"]) == len(unset)

    with pytest.raises(UserError, match="nothing to retry"):
        await harness.service.retry(run_id)
    await set_providers(harness, {"scaleserp", "llm", *KEYLESS})
    retried = await harness.service.retry(run_id)
    assert retried.lanes == ["content_analysis/news", "dsi_calculation/news", "dsi_calculation/all"]
    assert await harness.drive(run_id) == "completed"
    assert await harness.attempts("DONE-content_analysis/news") == 1
    assert await harness.attempts("DONE-serp_collection/news") == 1
    assert await harness.attempts("DONE-dsi_calculation/news") == 2
    assert (await harness.lanes(run_id))[LaneKey(ANALYSIS, NEWS)].retry_count == 0
    assert await notes(harness, run_id) == {
        str(phase): lack_of(phase, {"scaleserp", "llm", *KEYLESS}) for phase in (METRICS, YOUTUBE)
    }


async def test_without_searches_the_run_fails_at_once(harness: Harness) -> None:
    """Nobody can make the searches: their lane is blocked with the reason, nothing is called."""
    await set_providers(harness, set(SET_UP) - {"scaleserp"})
    run_id = await harness.start(ITEMS, content_types=(NEWS,))
    assert await harness.drive(run_id) == "failed"
    reason = await harness.one(
        "SELECT error_message FROM pipeline_phase_status WHERE pipeline_execution_id = :run"
        " AND phase_name = 'serp_collection'",
        run=run_id,
    )
    assert reason.startswith("no key for ScaleSERP (SERPLINE_SCALESERP_API_KEY)")
    assert await harness.attempts("DONE-serp_collection/news") == 0
    # A retry would do the same, and delete figures if there were any.
    with pytest.raises(UserError, match="serp_collection cannot be retried: no key for ScaleSERP"):
        await harness.service.retry(run_id)
    assert await harness.status(run_id) == "failed"


async def test_a_run_of_phases_that_nobody_can_work_on_fails(harness: Harness) -> None:
    """A run that did nothing has failed, and its error is why."""
    await set_providers(harness, ())
    run_id = await harness.start({}, lanes=[LaneKey(ANALYSIS, NEWS)])
    assert await harness.drive(run_id) == "failed"
    query = "SELECT error_message FROM pipeline_executions WHERE id = :run"
    error = await harness.one(query, run=run_id)
    assert error == lack_of(ANALYSIS, ())


async def test_one_worker_with_the_key_is_enough(harness: Harness) -> None:
    """A worker without the key leaves the chunk, unattempted, to the one that has it."""
    await harness.query("INSERT INTO workers (host, pid, providers) VALUES ('h', 1, '{youtube}')")
    lane = LaneKey(YOUTUBE, NEWS)
    harness.lifeline.providers = frozenset()
    run_id = await harness.start({lane: ["DONE-1"]}, lanes=[lane])
    (chunk_id,) = await harness.plan(run_id)
    assert await harness.worker.work(chunk_id)
    assert await harness.attempts("DONE-1") == 0
    chunk = await harness.chunk(chunk_id)
    assert (chunk["status"], chunk["seconds_to_check"] > 1) == ("ready", True)
    harness.lifeline.providers = frozenset(PHASE_INPUTS[YOUTUBE].providers)
    assert await harness.drive(run_id) == "completed"


async def test_a_key_that_is_taken_away_ends_the_lane(harness: Harness) -> None:
    """What came before stays. The rest fails with the reason, and is not retried by itself."""
    lane = LaneKey(METRICS, lanes_of([NEWS])[0].content_type)
    run_id = await harness.start({lane: ["DONE-1", "RETRY1-2"]}, lanes=[lane])
    (chunk_id,) = await harness.plan(run_id)
    assert await harness.worker.work(chunk_id)
    await set_providers(harness, ())
    assert await harness.orchestrator.advance(run_id) == "completed"
    items = await harness.items(run_id)
    assert [row["status"] for row in items.values()] == ["completed", "failed"]
    assert "no key for DataForSEO" in items["RETRY1-2"]["error"]
    assert items["RETRY1-2"]["error_category"] == "auth"
    assert (await harness.states(run_id))[str(lane)] == LaneStatus.COMPLETED


async def test_a_worker_that_restarts_takes_no_key_away(harness: Harness) -> None:
    """For a minute after the only worker with a key ended, no item fails and nothing is skipped."""
    lane = LaneKey(METRICS, lanes_of([NEWS])[0].content_type)
    begun = await harness.start({lane: ["DONE-1", "RETRY1-2"]}, lanes=[lane])
    (chunk_id,) = await harness.plan(begun)
    assert await harness.worker.work(chunk_id)
    later = await harness.start({}, lanes=[LaneKey(ANALYSIS, NEWS)])
    await set_providers(harness, ())
    await harness.query(
        "INSERT INTO workers (host, pid, providers, ended_at)"
        " VALUES ('h', 1, '{dataforseo,llm}', now())"
    )
    for run_id, state in ((begun, LaneStatus.RUNNING), (later, LaneStatus.PENDING)):
        assert await harness.orchestrator.advance(run_id) == "running"
        assert set((await harness.states(run_id)).values()) == {state}
    assert (await harness.items(begun))["RETRY1-2"]["status"] == "retry_wait"

    await harness.query("UPDATE workers SET ended_at = now() - interval '61 s' WHERE host = 'h'")
    assert await harness.orchestrator.advance(begun) == "completed"
    assert (await harness.items(begun))["RETRY1-2"]["status"] == "failed"
    assert await harness.orchestrator.advance(later) == "failed"
    assert set((await harness.states(later)).values()) == {LaneStatus.SKIPPED}


async def test_a_step_that_is_being_planned_fails_with_its_items(harness: Harness) -> None:
    """Whoever fails it waits for the planner, so no item is left in a failed step."""
    lane = LaneKey(METRICS, lanes_of([NEWS])[0].content_type)
    run_id = await harness.start({}, lanes=[lane])
    await harness.orchestrator.advance(run_id)
    lane_id = (await harness.lanes(run_id))[lane].id

    async def fail() -> int:
        async with harness.database.transaction() as conn:
            return await planning.fail_unfinished(conn, lane_id, "no key", "auth")

    async def is_waiting() -> bool:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return bool(await harness.one(waiting))

    async with harness.database.transaction() as conn:
        assert await planning.lock_unplanned(conn, lane_id)
        await planning.plan(conn, lane_id, "SELECT 'DONE-1' AS item", {}, 9)
        failing = asyncio.create_task(fail())
        await until(is_waiting, "a lock")
    assert await failing == 1
    assert (await harness.items(run_id))["DONE-1"]["status"] == "failed"


async def test_no_worker_is_no_reason_to_skip(db: Database) -> None:
    """While no worker is registered, nothing is known of its keys, and lanes start."""
    async with open_harness(db) as harness:
        await harness.query("UPDATE workers SET ended_at = now()")
        run_id = await harness.start({}, lanes=[LaneKey(ANALYSIS, NEWS)])
        await script(db, run_id, {LaneKey(ANALYSIS, NEWS): ["DONE-1"]})
        assert await harness.plan(run_id)
