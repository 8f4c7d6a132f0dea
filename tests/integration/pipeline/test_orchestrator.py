"""Orchestration: lanes start, fail, block, retry and end, whoever calls and how often."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from uuid import UUID

import pytest
from harness.inline import COMBINED, METRICS, NEWS, ORGANIC, VIDEO, Harness, open_harness
from harness.scripted import open_gate
from harness.waiting import until

from serpline.core.ids import new_id
from serpline.domain.names import SEARCHED_TYPES, ContentType, PhaseName, PipelineMode
from serpline.domain.phases import PHASE_DEPENDENCIES, LaneKey, lanes_of
from serpline.domain.states import LaneStatus, RunStatus
from serpline.pipeline.orchestrator import PhaseOrchestrator
from serpline.store.database import Database
from serpline.store.runs import events
from serpline.store.runs.events import Event

SERP, COMPANIES, YOUTUBE, OWNERS, ANALYSIS, DSI = list(PhaseName)[1:]


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


def everywhere(
    *kinds: ContentType, but: Mapping[LaneKey, list[str]] | None = None
) -> Mapping[LaneKey, list[str]]:
    """Two successful items for every lane, and others for the lanes in ``but``."""
    good = {key: [f"DONE-{key}-{n}" for n in (1, 2)] for key in lanes_of(kinds)}
    return {**good, **(but or {})}


async def errors(harness: Harness, run_id: UUID) -> dict[str, str]:
    rows = await harness.query(
        "SELECT phase_name || '/' || content_type AS lane, error_message FROM pipeline_phase_status"
        " WHERE pipeline_execution_id = :run AND error_message IS NOT NULL",
        run=run_id,
    )
    return {row["lane"]: row["error_message"] for row in rows}


def test_the_dependencies_are_public() -> None:
    """PhaseOrchestrator.PHASE_DEPENDENCIES is the design's table."""
    assert PhaseOrchestrator.PHASE_DEPENDENCIES is PHASE_DEPENDENCIES


async def test_a_whole_run_completes_in_the_order_of_the_data(harness: Harness) -> None:
    """Every lane plans, works and completes after its dependencies. Every item has a result."""
    items = everywhere(*SEARCHED_TYPES)
    run_id = await harness.start(items)
    assert await harness.drive(run_id) == "completed"
    assert set((await harness.states(run_id)).values()) == {LaneStatus.COMPLETED}
    assert await harness.results(run_id) == sorted(
        name for names in items.values() for name in names
    )
    event_names = await harness.events(run_id)
    assert (event_names[0], event_names[-1]) == ("run.started", "run.completed")
    for key in lanes_of(SEARCHED_TYPES)[1:-1]:
        for need in PHASE_DEPENDENCIES[key.phase]:
            kind = "all" if need == "keyword_metrics" else key.content_type
            assert event_names.index(f"lane.complete {need}/{kind}") < event_names.index(
                f"lane.start {key}"
            )


async def test_a_failed_news_lane_blocks_news_only(harness: Harness) -> None:
    """News ends failed and blocked with the reason, the others complete, the run has errors."""
    broken = LaneKey(SERP, NEWS)
    items = everywhere(*SEARCHED_TYPES, but={broken: ["REJECT-1", "REJECT-2"]})
    run_id = await harness.start(items)
    assert await harness.drive(run_id) == "completed_with_errors"
    states = await harness.states(run_id)
    assert states.pop(str(broken)) == "failed"
    for name, status in states.items():
        assert status == ("blocked" if name.endswith("/news") else "completed"), name
    error_of = await errors(harness, run_id)
    assert error_of["serp_collection/news"].startswith("all 2 items failed")
    assert error_of["company_enrichment_serp/news"] == "serp_collection/news failed"
    assert set(error_of) == {f"{phase}/news" for phase in list(PhaseName)[1:]}
    message = await harness.one(
        "SELECT error_message FROM pipeline_executions WHERE id=:r", r=run_id
    )
    assert "serp_collection/news failed" in message


async def test_without_any_dsi_the_run_fails(harness: Harness) -> None:
    """A run without a DSI for any content type has failed."""
    but = {LaneKey(DSI, kind): [f"REJECT-{kind}"] for kind in (NEWS, VIDEO)}
    run_id = await harness.start(everywhere(NEWS, VIDEO, but=but), content_types=(NEWS, VIDEO))
    assert await harness.drive(run_id) == "failed"
    assert (await harness.states(run_id))[str(COMBINED)] == "blocked"
    assert (await errors(harness, run_id))[str(COMBINED)] == "no content type has a DSI"


async def test_a_lane_without_items_completes_with_a_note(harness: Harness) -> None:
    """A lane without items completes with a note that there was nothing to do."""
    items = everywhere(NEWS, but={LaneKey(YOUTUBE, NEWS): []})
    run_id = await harness.start(items, content_types=(NEWS,))
    assert await harness.drive(run_id) == "completed"
    notes = await harness.query(
        "SELECT phase_name, note FROM pipeline_phase_status"
        " WHERE pipeline_execution_id = :run AND note IS NOT NULL",
        run=run_id,
    )
    assert notes == [{"phase_name": "youtube_enrichment", "note": "nothing to do"}]


@pytest.mark.parametrize(
    ("ratio", "bad", "status"),
    [
        (0.0, 4, "failed"),
        (0.0, 3, "completed"),
        (0.5, 2, "completed"),
        (0.5, 3, "failed"),
        (1.0, 1, "failed"),
    ],
)
async def test_the_runs_success_ratio_decides(
    harness: Harness, ratio: float, bad: int, status: str
) -> None:
    """A lane of four items fails below the run's ratio, and always when all items failed."""
    names = [f"{'REJECT' if n < bad else 'DONE'}-{n}" for n in range(4)]
    run_id = await harness.start({METRICS: names}, lanes=[METRICS], min_success_ratio=ratio)
    assert await harness.drive(run_id) == status
    assert (await harness.states(run_id))[str(METRICS)] == status


async def test_two_runs_side_by_side_never_mix(harness: Harness) -> None:
    """Two runs with equal items, one of them failing, end by their own items and configuration."""
    items = {METRICS: ["DONE-1", "RETRY1-2"]}
    tough = await harness.start(items, lanes=[METRICS], retry_attempts=2, min_success_ratio=1.0)
    frail = await harness.start(items, lanes=[METRICS], retry_attempts=1, min_success_ratio=1.0)
    ended = await asyncio.gather(harness.drive(tough), harness.drive(frail))
    assert list(ended) == [RunStatus.COMPLETED, RunStatus.FAILED]
    assert (await harness.items(tough))["RETRY1-2"]["status"] == "completed"
    assert (await harness.items(frail))["RETRY1-2"]["status"] == "failed"
    assert await harness.results(tough) == ["DONE-1", "RETRY1-2"]
    assert await harness.results(frail) == ["DONE-1"]


async def test_many_callers_start_and_plan_once(harness: Harness) -> None:
    """Ten callers at once start the run once and plan each item once."""
    run_id = await harness.start({METRICS: ["DONE-1", "DONE-2"]}, lanes=[METRICS])
    await asyncio.gather(*[harness.orchestrator.advance_and_plan(run_id) for _ in range(10)])
    assert await harness.events(run_id) == ["run.started", "lane.start keyword_metrics/all"]
    lane = (await harness.lanes(run_id))[METRICS]
    assert (lane.planned, lane.chunks) == (2, 1)


async def test_planning_twice_adds_nothing(harness: Harness) -> None:
    """A second planner, concurrent or later, finds the lane planned and adds nothing."""
    run_id = await harness.start({METRICS: ["DONE-1", "DONE-2"]}, lanes=[METRICS])
    await harness.orchestrator.advance(run_id)
    lane = (await harness.lanes(run_id))[METRICS]
    made = await asyncio.gather(*[harness.orchestrator.plan(run_id, lane) for _ in range(6)])
    assert sorted(made) == [0, 0, 0, 0, 0, 1]
    assert await harness.orchestrator.plan(run_id, lane) == 0
    assert (await harness.lanes(run_id))[METRICS].planned == 2


async def test_advancing_an_ended_run_changes_nothing(harness: Harness) -> None:
    """Advancing an ended run changes nothing and writes no event; an unknown run gives None."""
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    await harness.drive(run_id)
    event_names = await harness.events(run_id)
    assert await harness.orchestrator.advance_and_plan(run_id) == "completed"
    assert await harness.events(run_id) == event_names
    assert await harness.orchestrator.advance_and_plan(new_id()) is None


async def test_a_lane_that_cannot_be_planned_fails_alone(harness: Harness) -> None:
    """A planning error fails its lane with the reason; the other content types complete."""
    items = everywhere(NEWS, VIDEO, but={LaneKey(SERP, NEWS): ["UNPLANNABLE"]})
    run_id = await harness.start(items, content_types=(NEWS, VIDEO))
    assert await harness.drive(run_id) == "completed_with_errors"
    states = await harness.states(run_id)
    assert states["serp_collection/news"] == "failed"
    assert states["dsi_calculation/news"] == "blocked"
    assert states["dsi_calculation/video"] == states["dsi_calculation/all"] == "completed"
    assert "planning failed" in (await errors(harness, run_id))["serp_collection/news"]


async def test_a_planning_error_is_cut_to_five_hundred_characters(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane's error is one line for people, whatever was raised."""

    async def plan(*_: object) -> None:
        raise RuntimeError("x" * 3_000)

    monkeypatch.setattr(harness.orchestrator, "plan", plan)
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    assert await harness.drive(run_id) == "failed"
    assert len((await errors(harness, run_id))[str(METRICS)]) == 500


async def test_a_scheduled_lane_that_cannot_be_planned_is_retried(
    harness: Harness,
) -> None:
    """A lane that fails before it has items is retried like any other, as often as configured."""
    run_id = await harness.start(
        {METRICS: ["UNPLANNABLE"]}, PipelineMode.SCHEDULED, lanes=[METRICS], phase_retries=2
    )
    assert await harness.drive(run_id) == "failed"
    assert (await harness.events(run_id)).count(f"lane.retry {METRICS}") == 2
    assert "planning failed" in (await errors(harness, run_id))[str(METRICS)]


async def test_a_scheduled_lane_is_retried_automatically(harness: Harness) -> None:
    """SCHEDULED mode retries failed items as often as configured, and counts the retries."""
    run_id = await harness.start(
        {METRICS: ["REJECT-1", "REJECT-2", "DONE-3"]},
        PipelineMode.SCHEDULED,
        lanes=[METRICS],
        phase_retries=2,
        min_success_ratio=0.9,
    )
    assert await harness.drive(run_id) == "failed"
    lane = (await harness.lanes(run_id))[METRICS]
    assert (lane.retry_count, lane.planned, lane.completed, lane.failed) == (2, 3, 1, 2)
    assert await harness.attempts("REJECT-1") == 3
    assert await harness.attempts("DONE-3") == 1
    event_names = await harness.events(run_id)
    assert event_names.count("lane.retry keyword_metrics/all") == 2


async def test_a_retry_that_helps_unblocks_the_run(harness: Harness) -> None:
    """Dependents wait unblocked while a lane is retried, and continue when it completes."""
    items = everywhere(NEWS, but={LaneKey(SERP, NEWS): ["FLAKY-1"]})
    run_id = await harness.start(items, PipelineMode.SCHEDULED, content_types=(NEWS,))
    assert await harness.drive(run_id) == "completed"
    assert (await harness.lanes(run_id))[LaneKey(SERP, NEWS)].retry_count == 1
    event_names = await harness.events(run_id)
    assert not [event for event in event_names if event.startswith("lane.block")]


@pytest.mark.parametrize("mode", [PipelineMode.MANUAL, PipelineMode.TESTING])
async def test_only_scheduled_runs_retry_automatically(
    harness: Harness, mode: PipelineMode
) -> None:
    """In other modes a failed lane stays failed until a person retries it."""
    run_id = await harness.start({METRICS: ["REJECT-1"]}, mode, lanes=[METRICS], phase_retries=2)
    assert await harness.drive(run_id) == "failed"
    assert (await harness.lanes(run_id))[METRICS].retry_count == 0
    assert await harness.attempts("REJECT-1") == 1


async def test_a_lane_added_by_hand_keeps_the_order(harness: Harness) -> None:
    """A lane created after its dependents is still processed and counted in its place."""
    run_id = await harness.start(everywhere(ORGANIC), content_types=(ORGANIC,))
    await harness.tracker.initialize_pipeline(
        pipeline_execution_id=run_id, phases=["serp_collection"], items=["REJECT-by-hand"]
    )
    phases = [key.phase for key in await harness.lanes(run_id)]
    assert phases == sorted(phases, key=list(PhaseName).index)
    assert await harness.drive(run_id) == "failed"
    states = await harness.states(run_id)
    assert states["serp_collection/all"] == "failed"
    assert states["company_enrichment_serp/organic"] == "blocked"


async def test_a_pending_run_that_was_cancelled_never_starts(harness: Harness) -> None:
    """A run cancelled before its start has no start event, and its lanes are cancelled."""
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    await harness.service.cancel(run_id)
    assert await harness.orchestrator.advance_and_plan(run_id) is RunStatus.CANCELLED
    assert (await harness.states(run_id)) == {"keyword_metrics/all": "cancelled"}
    started = "SELECT started_at FROM pipeline_executions WHERE id = :run"
    assert await harness.one(started, run=run_id) is None


async def test_a_tail_of_events_misses_nothing(harness: Harness) -> None:
    """Under concurrent writers and rollbacks a tail by id sees every event, in order."""
    writing = 6

    async def write(writer: int) -> None:
        for n in range(15):
            try:
                async with harness.database.transaction() as conn:
                    await events.append(
                        conn,
                        [Event("test", detail={"by": writer, "n": n, "of": i}) for i in (1, 2)],
                    )
                    await asyncio.sleep(0)  # hold the commit back while the others come
                    if n % 5 == 4:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass

    writers = [asyncio.create_task(write(writer)) for writer in range(writing)]
    seen: list[int] = []
    more = True
    while more:
        more = not all(task.done() for task in writers)
        async with harness.database.transaction() as conn:
            seen += [e["id"] for e in await events.after(conn, seen[-1] if seen else 0, limit=7)]
    async with harness.database.transaction() as conn:
        while rest := await events.after(conn, seen[-1], limit=7):
            seen += [e["id"] for e in rest]
    await asyncio.gather(*writers)
    assert len(seen) == writing * 12 * 2
    assert seen == await harness.column("SELECT id FROM pipeline_events ORDER BY id")


async def test_a_later_event_waits_for_an_earlier_commit(harness: Harness) -> None:
    """No event is visible before an earlier uncommitted one, so a tail never skips it."""

    async def second() -> None:
        async with harness.database.transaction() as conn:
            await events.append(conn, [Event("second")])

    async def is_over_or_waits() -> bool:
        blocked = await harness.one(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND cardinality(pg_blocking_pids(pid)) > 0"
        )
        return writing.done() or blocked > 0

    async def after(last: int) -> list[tuple[int, str]]:
        async with harness.database.transaction() as conn:
            return [(e["id"], e["event_type"]) for e in await events.after(conn, last)]

    async with harness.database.transaction() as conn:
        await events.append(conn, [Event("first")])
        writing = asyncio.create_task(second())
        await until(is_over_or_waits, "the second writer")
        seen = await after(0)
    await writing
    seen += await after(seen[-1][0] if seen else 0)
    assert [name for _, name in seen] == ["first", "second"]


async def test_a_lane_past_its_deadline_fails_its_unfinished_items(harness: Harness) -> None:
    """The run ends even if work hangs. Results stay, the rest fails with the reason, fenced off."""
    run_id = await harness.start({METRICS: ["DONE-1", "GATE-2", "RETRY0-3"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    working = asyncio.create_task(harness.worker.work(chunk_id))
    await harness.wait_until_attempted("GATE-2")

    async def is_settled() -> bool:
        return await harness.results(run_id) == ["DONE-1"]

    await until(is_settled, "what comes before the gate")
    harness.clock.ahead_seconds = 47 * 3600
    assert await harness.orchestrator.advance_and_plan(run_id) == "running"
    harness.clock.ahead_seconds = 49 * 3600
    assert await harness.orchestrator.advance_and_plan(run_id) == "failed"
    await open_gate(harness.database)
    assert await working
    items = await harness.items(run_id)
    assert [row["status"] for row in items.values()] == ["completed", "failed", "failed"]
    assert items["GATE-2"]["error_category"] == "timeout"
    assert items["GATE-2"]["error"].startswith("deadline: ")
    assert await harness.results(run_id) == ["DONE-1"]
    lane = (await harness.lanes(run_id))[METRICS]
    assert (lane.completed, lane.failed, lane.chunks_done) == (1, 2, 1)


async def test_a_deadline_keeps_the_error_of_the_last_attempt(harness: Harness) -> None:
    """An item waiting for its next attempt at the deadline keeps its previous error too."""
    run_id = await harness.start({METRICS: ["DONE-1", "RETRY1-2"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    assert await harness.worker.work(chunk_id)
    harness.clock.ahead_seconds = 49 * 3600
    await harness.orchestrator.advance_and_plan(run_id)
    error = (await harness.items(run_id))["RETRY1-2"]["error"]
    assert error.startswith("failed 1 times; deadline: ")


async def test_a_lane_that_is_never_planned_fails_at_its_deadline(harness: Harness) -> None:
    """A lane whose planning is lost again and again ends at its deadline."""
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    assert await harness.orchestrator.advance(run_id) == "running"
    harness.clock.ahead_seconds = 49 * 3600
    assert await harness.orchestrator.advance(run_id) == "failed"


async def test_a_pause_does_not_count_towards_the_deadline(harness: Harness) -> None:
    """The lanes of a resumed run get their full time again."""
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    await harness.plan(run_id)
    await harness.service.pause(run_id)
    harness.clock.ahead_seconds = 72 * 3600
    await harness.service.resume(run_id)
    assert await harness.orchestrator.advance_and_plan(run_id) == "running"
    assert await harness.drive(run_id) == "completed"
