"""Each content type of a run follows its own settings, and so do the lanes of all types."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from harness.inline import COMBINED, METRICS, NEWS, ORGANIC, VIDEO, Harness, open_harness
from harness.scripted import BREAKER

from serpline.domain.names import SEARCHED_TYPES, ContentType, JobPriority, PhaseName, PipelineMode
from serpline.domain.phases import LaneKey
from serpline.domain.states import LaneStatus
from serpline.pipeline.timer import Timer
from serpline.robustness.breakers import CircuitBreakerManager
from serpline.store.database import Database
from serpline.store.queue.wakeups import priority_of

HOUR = 3600
SERP = {kind: LaneKey(PhaseName.SERP_COLLECTION, kind) for kind in SEARCHED_TYPES}
LANES = [METRICS, *SERP.values()]


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


def _each(*names: str) -> dict[LaneKey, list[str]]:
    """Items of these kinds in every lane; an item's name ends in its content type."""
    return {key: [f"{name}-{key.content_type}" for name in names] for key in LANES}


async def test_items_have_the_attempts_of_their_type(harness: Harness) -> None:
    """News are tried five times, video once, organic and volumes as often as the run says."""
    run_id = await harness.start(
        _each("RETRY9", "DONE"),
        lanes=LANES,
        retry_attempts=2,
        own={"news": {"retry_attempts": 5}, "video": {"retry_attempts": 1}},
    )
    await harness.drive(run_id)
    tried = {kind: await harness.attempts(f"RETRY9-{kind}") for kind in ContentType}
    assert tried == {"organic": 2, "news": 5, "video": 1, "all": 2}


async def test_lanes_are_retried_as_often_as_their_type_says(harness: Harness) -> None:
    """Phase retries are counted by lane, against the lane's own number."""
    run_id = await harness.start(
        _each("REJECT"),
        PipelineMode.SCHEDULED,
        lanes=LANES,
        phase_retries=1,
        own={"news": {"phase_retries": 3}, "video": {"phase_retries": 0}},
    )
    await harness.drive(run_id)
    found = await harness.lanes(run_id)
    assert {key.content_type: lane.retry_count for key, lane in found.items()} == {
        "all": 1,
        "organic": 1,
        "news": 3,
        "video": 0,
    }


async def test_a_lane_fails_by_the_ratio_of_its_type(harness: Harness) -> None:
    """A third of the items succeeds: enough for news, too few for the others."""
    run_id = await harness.start(
        _each("DONE", "REJECT-1", "REJECT-2"),
        lanes=LANES,
        own={"news": {"min_success_ratio": 0.3}},
    )
    await harness.drive(run_id)
    assert await harness.states(run_id) == {
        "keyword_metrics/all": LaneStatus.FAILED,
        "serp_collection/organic": LaneStatus.FAILED,
        "serp_collection/news": LaneStatus.COMPLETED,
        "serp_collection/video": LaneStatus.FAILED,
    }


async def test_each_type_has_the_share_that_it_must_collect(harness: Harness) -> None:
    """Half of the news are enough; half of the videos are reported, and nothing else."""
    run_id = await harness.start(
        {SERP[kind]: [f"DONE-{kind}", f"REJECT-{kind}"] for kind in (NEWS, VIDEO)},
        lanes=[SERP[NEWS], SERP[VIDEO]],
        content_types=(NEWS, VIDEO),
        min_collected_ratio=0.4,
        own={"video": {"min_collected_ratio": 0.6}},
    )
    assert await harness.drive(run_id) == "completed_with_errors"
    sql = "SELECT error_message FROM pipeline_executions WHERE id = :run"
    assert await harness.one(sql, run=run_id) == "video: 1 of 2 searches collected"


async def test_each_type_has_its_deadline(harness: Harness) -> None:
    """News fail after an hour; the others go on for the run's two."""
    run_id = await harness.start(
        _each("SNOOZE"),
        lanes=LANES,
        lane_deadline_hours=2,
        own={"news": {"lane_deadline_hours": 1}},
    )
    await harness.plan(run_id)
    harness.clock.ahead_seconds += 400  # longer than volumes hold up the searches
    await harness.plan(run_id)
    harness.clock.ahead_seconds = 1.5 * HOUR
    await harness.plan(run_id)
    states = await harness.states(run_id)
    assert states.pop("serp_collection/news") == LaneStatus.FAILED
    assert set(states.values()) == {LaneStatus.RUNNING}
    assert (await harness.items(run_id))["SNOOZE-news"]["error"].startswith("deadline: ")


async def test_a_resumed_run_gives_each_type_its_own_time(harness: Harness) -> None:
    """After a pause every running lane has its own full time again."""
    run_id = await harness.start(
        {SERP[kind]: [f"SNOOZE-{kind}"] for kind in SEARCHED_TYPES},
        lanes=list(SERP.values()),
        lane_deadline_hours=10,
        own={"video": {"lane_deadline_hours": 2}},
    )
    await harness.plan(run_id)
    await harness.service.pause(run_id)
    harness.clock.ahead_seconds = 5 * HOUR
    await harness.service.resume(run_id)
    now = harness.clock.now()
    found = await harness.lanes(run_id)
    hours = {
        key.content_type: round((lane.deadline_at - now).total_seconds() / HOUR, 1)
        for key, lane in found.items()
        if lane.deadline_at
    }
    assert hours == {"organic": 10.0, "news": 10.0, "video": 2.0}


async def _priorities(harness: Harness) -> dict[str, JobPriority]:
    """The priority of each waiting wake-up of a chunk, by content type."""
    rows = await harness.query(
        "SELECT l.content_type, j.priority FROM procrastinate_jobs j"
        " JOIN chunks c ON 'chunk:' || c.id = j.queueing_lock"
        " JOIN pipeline_phase_status l ON l.id = c.lane_id WHERE j.status = 'todo'"
    )
    return {row["content_type"]: priority_of(row["priority"]) for row in rows}


async def test_chunks_are_woken_with_the_priority_of_their_type(harness: Harness) -> None:
    """When they are planned, when they are due again, and when a breaker closes."""
    kinds: dict[str, Any] = {"news": {"priority": "high"}, "video": {"priority": "low"}}
    run_id = await harness.start(
        {SERP[kind]: [f"REFUSED-{kind}"] for kind in SEARCHED_TYPES},
        lanes=list(SERP.values()),
        own=kinds,
    )
    expected = {
        "organic": JobPriority.NORMAL,
        "news": JobPriority.HIGH,
        "video": JobPriority.LOW,
    }
    planned = await harness.plan(run_id)
    assert await _priorities(harness) == expected

    await harness.delete_wakeups()
    await harness.query("UPDATE chunks SET next_check_at = now()")
    timer = Timer(
        harness.database,
        harness.clock,
        harness.lifeline,
        check_again_seconds=60,
        take_over_seconds=5,
    )
    await timer.tick()
    assert await _priorities(harness) == expected

    manager = CircuitBreakerManager(harness.database, harness.clock)
    breaker = manager.get_breaker(BREAKER, 1, 1, HOUR)
    await (await breaker.permit()).failed()
    for chunk_id in planned:
        assert await harness.worker.work(chunk_id)
    await harness.delete_wakeups()
    await manager.reset(BREAKER)
    assert await _priorities(harness) == expected


async def test_work_for_all_types_has_the_run_s_priority(harness: Harness) -> None:
    """So have search volumes and the combined DSI."""
    run_id = await harness.start({}, priority="low", own={"news": {"priority": "high"}})
    rows = await harness.query(
        "SELECT DISTINCT content_type, priority FROM pipeline_phase_status"
        " WHERE pipeline_execution_id = :run ORDER BY 1",
        run=run_id,
    )
    assert {row["content_type"]: row["priority"] for row in rows} == {
        str(METRICS.content_type): JobPriority.LOW,
        str(COMBINED.content_type): JobPriority.LOW,
        str(ORGANIC): JobPriority.LOW,
        str(NEWS): JobPriority.HIGH,
        str(VIDEO): JobPriority.LOW,
    }
