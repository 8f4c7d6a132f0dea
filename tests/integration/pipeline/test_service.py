"""Runs as people control them: start, pause, resume, cancel, retry."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from harness.inline import COMBINED, METRICS, NEWS, ORGANIC, VIDEO, Harness, open_harness
from harness.scripted import open_gate, script

from serpline.config.lanes import LaneSettings
from serpline.config.run import PipelineConfig
from serpline.core.ids import new_id
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType, PhaseName, PipelineMode
from serpline.domain.phases import LaneKey, lanes_of
from serpline.domain.states import LaneStatus
from serpline.imports.reading import parse_keywords
from serpline.pipeline.report import run_report, seconds_of
from serpline.store import projects
from serpline.store.database import Database
from serpline.store.runs import runs

SERP, COMPANIES, YOUTUBE, OWNERS, ANALYSIS, DSI = list(PhaseName)[1:]
NEWS_SERP, NEWS_DSI = LaneKey(SERP, NEWS), LaneKey(DSI, NEWS)


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


@pytest.fixture
async def keywords(harness: Harness) -> int:
    """A project of seven keyword × market pairs."""
    rows = parse_keywords(b"keyword,market\n" + b"".join(b"word %d,us\n" % n for n in range(7)))
    async with harness.database.transaction() as conn:
        await projects.ensure_builtin_markets(conn)
        return await projects.import_keywords(conn, rows.require_clean().rows)


async def a_run(harness: Harness, *kinds: Any, **items: list[str]) -> UUID:
    """A run of these types; ``phase_type=[items]``. Other lanes have one successful item."""
    lanes = {key: [f"DONE-{key}"] for key in lanes_of(kinds)}
    lanes |= {
        key: items[f"{key.phase}_{key.content_type}"]
        for key in lanes
        if f"{key.phase}_{key.content_type}" in items
    }
    return await harness.start(lanes, content_types=kinds)


async def test_a_thousand_starts_make_one_run(harness: Harness, keywords: int) -> None:
    """Any number of callers with one run id create one run, one wake-up and one event."""
    run_id = new_id()
    started = await asyncio.gather(
        *[harness.service.start(PipelineConfig(), run_id=run_id) for _ in range(50)]
    )
    assert set(started) == {run_id}
    assert await harness.column("SELECT id FROM pipeline_executions") == [run_id]
    assert await harness.one("SELECT count(*) FROM run_keywords") == keywords
    assert await harness.one("SELECT count(*) FROM pipeline_phase_status") == 20
    assert await harness.events(run_id) == ["run.created"]
    assert await harness.waiting() == [f"run:{run_id}"]


async def test_a_run_keeps_the_keywords_it_began_with(harness: Harness, keywords: int) -> None:
    """TESTING takes five keywords, MANUAL all. A later import changes neither."""
    testing = await harness.service.start(PipelineConfig(), PipelineMode.TESTING)
    manual = await harness.service.start(PipelineConfig())
    more = parse_keywords(b"keyword,market\nlate,us\n").require_clean().rows
    async with harness.database.transaction() as conn:
        await projects.import_keywords(conn, more)
    sql = "SELECT count(*) FROM run_keywords WHERE run_id = :run"
    assert await harness.one(sql, run=testing) == 5
    assert await harness.one(sql, run=manual) == keywords


async def test_phases_not_asked_for_are_skipped(harness: Harness, keywords: int) -> None:
    """A MANUAL run of one phase skips every other lane and ends with that phase."""
    config = PipelineConfig(phases=(PhaseName.KEYWORD_METRICS,), content_types=(NEWS,))
    run_id = await harness.service.start(config)
    await script(harness.database, run_id, {METRICS: ["DONE-1"]})
    assert await harness.drive(run_id) == "completed"
    states = await harness.states(run_id)
    assert states.pop(str(METRICS)) == "completed"
    assert set(states.values()) == {LaneStatus.SKIPPED}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PipelineConfig(landscape="nowhere"), "landscape='nowhere'"),
        (PipelineConfig(inputs_from=UUID(int=7)), "inputs_from=00000000"),
        (PipelineConfig(phases=(DSI,)), "inputs_from"),
    ],
)
async def test_a_run_that_could_do_nothing_is_refused(
    harness: Harness, keywords: int, config: PipelineConfig, message: str
) -> None:
    """The error is one line that names the key; no run is created."""
    with pytest.raises(UserError, match=message):
        await harness.service.start(config)
    assert await harness.column("SELECT id FROM pipeline_executions") == []


LAST = (DSI,)
BEFORE = (PhaseName.KEYWORD_METRICS,)


@pytest.mark.parametrize(
    ("source_keys", "keys", "message"),
    [
        ({"phases": BEFORE}, {"phases": LAST}, "dsi_calculation needs serp_collection"),
        ({"content_types": (NEWS,)}, {"phases": LAST, "content_types": (VIDEO,)}, "has no video"),
        ({"keyword_limit": 3}, {"phases": LAST, "keyword_limit": 4}, "keyword_limit=4: inputs_"),
        ({}, {"phases": ()}, "nothing would be read from it"),
    ],
)
async def test_a_run_that_cannot_give_the_inputs_is_refused(
    harness: Harness, keywords: int, source_keys: dict[str, Any], keys: dict[str, Any], message: str
) -> None:
    """The source run must have ended, and must have the phases, types and keywords needed."""
    source = await harness.service.start(PipelineConfig(**source_keys))
    config = PipelineConfig(inputs_from=source, **keys)
    if config.phases:
        with pytest.raises(UserError, match="the run is pending"):
            await harness.service.start(config)
    assert await harness.drive(source) == "completed"
    with pytest.raises(UserError, match=message):
        await harness.service.start(config)
    assert await harness.column("SELECT id FROM pipeline_executions") == [source]


async def test_a_run_has_the_keywords_and_types_of_the_run_it_reads(
    harness: Harness, keywords: int
) -> None:
    """It has its devices too, unless it searches. Untracked results stay untracked."""
    first = PipelineConfig(content_types=(NEWS,), keyword_limit=3, devices=("mobile", "tablet"))
    source = await harness.service.start(first, PipelineMode.TESTING)
    assert await harness.drive(source) == "completed"
    run_id = await harness.service.start(PipelineConfig(phases=LAST, inputs_from=source))
    async with harness.database.transaction() as conn:
        run = await runs.get(conn, run_id)
    assert run is not None
    config = PipelineConfig.from_json(run.config)
    assert config.content_types == (NEWS,)
    assert config.devices == ("mobile", "tablet")
    assert config.keyword_limit == 3
    assert not config.enable_historical_tracking
    taken = "SELECT keyword_id, market, keyword FROM run_keywords WHERE run_id = :run ORDER BY 1"
    assert await harness.query(taken, run=run_id) == await harness.query(taken, run=source)


@pytest.mark.parametrize(
    ("given", "tracked"),
    [
        ({}, {NEWS: False, ORGANIC: True, VIDEO: True}),
        (
            {"lanes": {"organic": {"enable_historical_tracking": False, "batch_size": 9}}},
            {NEWS: False, ORGANIC: False, VIDEO: True},
        ),
        ({"enable_historical_tracking": False}, {NEWS: False, ORGANIC: False, VIDEO: False}),
    ],
)
async def test_a_type_that_was_not_tracked_stays_so(
    harness: Harness, keywords: int, given: dict[str, Any], tracked: dict[ContentType, bool]
) -> None:
    """A run that reads another keeps out of history what either of them does, by type."""
    first = PipelineConfig(lanes={"news": LaneSettings(enable_historical_tracking=False)})
    source = await harness.service.start(first)
    assert await harness.drive(source) == "completed"
    again = PipelineConfig.from_json({"phases": LAST, "inputs_from": str(source), **given})
    run_id = await harness.service.start(again)
    async with harness.database.transaction() as conn:
        run = await runs.get(conn, run_id)
    assert run is not None
    config = PipelineConfig.from_json(run.config)
    assert {kind: config.of(kind).enable_historical_tracking for kind in tracked} == tracked
    assert config.of(ORGANIC).batch_size == again.of(ORGANIC).batch_size


async def test_a_runs_credit_limits_are_set_with_it(harness: Harness, keywords: int) -> None:
    """They are in force before the first call."""
    config = PipelineConfig(credit_limits={"pdl": 12.5, "llm": 0})
    run_id = await harness.service.start(config)
    limits = await harness.query(
        "SELECT provider, limit_credits FROM provider_budgets WHERE scope = :s ORDER BY 1",
        s=f"run:{run_id}",
    )
    assert [(row["provider"], float(row["limit_credits"])) for row in limits] == [
        ("llm", 0),
        ("pdl", 12.5),
    ]


async def test_without_keywords_there_is_no_run(harness: Harness) -> None:
    """The error asks to import keywords; no run is created."""
    with pytest.raises(UserError, match="no keywords"):
        await harness.service.start(PipelineConfig())
    assert await harness.column("SELECT id FROM pipeline_executions") == []


async def test_each_change_needs_a_matching_state(harness: Harness) -> None:
    """A change that the state does not allow is refused by name and writes no event."""
    run_id = await a_run(harness, NEWS)
    for steer in (harness.service.pause, harness.service.resume, harness.service.retry):
        with pytest.raises(UserError, match="is pending"):
            await steer(run_id)
        with pytest.raises(UserError, match="there is no such run"):
            await steer(new_id())
    assert await harness.drive(run_id) == "completed"
    for steer in (harness.service.pause, harness.service.resume, harness.service.cancel):
        with pytest.raises(UserError, match="is completed"):
            await steer(run_id)
    assert await harness.status(run_id) == "completed"
    assert await harness.waiting() != []


async def test_of_concurrent_pauses_one_wins(harness: Harness) -> None:
    """One of two concurrent pauses succeeds; the other is refused. There is one event."""
    run_id = await a_run(harness, NEWS)
    await harness.orchestrator.advance_and_plan(run_id)
    ended = await asyncio.gather(
        *[harness.service.pause(run_id) for _ in range(5)], return_exceptions=True
    )
    assert sorted(type(e).__name__ for e in ended) == ["NoneType"] + ["UserError"] * 4
    assert (await harness.events(run_id)).count("run.pause") == 1


async def test_retry_takes_failed_items_only(harness: Harness) -> None:
    """Failed items become pending with no attempts counted; successful items are not repeated."""
    run_id = await a_run(
        harness, NEWS, serp_collection_news=["REJECT-1", "REJECT-2", "REJECT-3", "DONE-4"]
    )
    assert await harness.drive(run_id) == "failed"
    retried = await harness.service.retry(run_id)
    assert retried.lanes[0] == "serp_collection/news"
    assert "keyword_metrics/all" not in retried.lanes
    items = await harness.items(run_id)
    assert {(items[f"REJECT-{n}"]["status"], items[f"REJECT-{n}"]["attempts"]) for n in (1, 2)} == {
        ("pending", 0)
    }
    assert items["REJECT-1"]["error"] is None
    assert await harness.status(run_id) == "running"
    await harness.query("UPDATE items SET status = 'skipped' WHERE item = 'REJECT-3'")
    await harness.query(
        "UPDATE chunks c SET skipped = 1 FROM pipeline_phase_status l WHERE l.id = c.lane_id"
        " AND l.phase_name = 'serp_collection'"
    )
    assert await harness.drive(run_id) == "completed_with_errors"
    assert (await harness.attempts("DONE-4"), await harness.attempts("REJECT-1")) == (1, 2)
    assert set((await harness.states(run_id)).values()) == {LaneStatus.COMPLETED}


async def test_a_retry_plans_new_items_and_recomputes_the_dsi(harness: Harness) -> None:
    """After a retry, dependents work on new items only, and the DSI is computed again."""
    run_id = await a_run(harness, NEWS)
    assert await harness.drive(run_id) == "completed"
    before = (await harness.lanes(run_id))[NEWS_DSI]
    await script(harness.database, run_id, {LaneKey(COMPANIES, NEWS): ["DONE-new-company"]})
    retried = await harness.service.retry(run_id, phase=SERP)
    assert retried.lanes == [str(k) for k in lanes_of([NEWS])[1:]]
    assert await harness.drive(run_id) == "completed"
    assert await harness.attempts("DONE-new-company") == 1
    assert await harness.attempts("DONE-company_enrichment_serp/news") == 1
    assert await harness.attempts("DONE-serp_collection/news") == 1
    assert await harness.attempts("DONE-dsi_calculation/news") == 2
    assert await harness.attempts(f"DONE-{COMBINED}") == 2
    after = (await harness.lanes(run_id))[NEWS_DSI]
    assert (after.planned, after.completed) == (before.planned, before.completed)
    assert after.retry_count == 1


async def test_retry_of_one_type_leaves_the_others(harness: Harness) -> None:
    """Retrying news changes news and the combined DSI, and nothing of video."""
    run_id = await a_run(harness, NEWS, VIDEO, serp_collection_news=["REJECT-1"])
    assert await harness.drive(run_id) == "completed_with_errors"
    retried = await harness.service.retry(run_id, content_type=NEWS)
    assert {name.partition("/")[2] for name in retried.lanes} == {"news", "all"}
    assert str(METRICS) not in retried.lanes
    assert await harness.drive(run_id) == "completed_with_errors"
    assert await harness.attempts("REJECT-1") == 2
    assert await harness.attempts("DONE-serp_collection/video") == 1


async def test_retry_of_one_item_retries_that_item(harness: Harness) -> None:
    """A failed item is retried in every lane where it failed, even in a completed one."""
    failures = ["DONE-1", "DONE-2", "REJECT-3", "REJECT-4"]
    run_id = await a_run(
        harness, NEWS, serp_collection_news=failures, content_analysis_news=["DONE-a", "REJECT-a"]
    )
    assert await harness.drive(run_id) == "completed_with_errors"
    retried = await harness.service.retry(run_id, item="REJECT-3")
    assert retried.lanes[0] == "serp_collection/news"
    assert await harness.drive(run_id) == "completed_with_errors"
    assert await harness.attempts("REJECT-3") == 2
    assert await harness.attempts("REJECT-4") == await harness.attempts("REJECT-a") == 1


@pytest.mark.parametrize(
    "what",
    [
        {"item": "no such item"},
        {"item": "DONE-serp_collection/news"},
        {"item": "REJECT-1", "phase": ANALYSIS},
        {"content_type": VIDEO},
        {},
    ],
)
async def test_there_must_be_something_to_retry(harness: Harness, what: dict[str, Any]) -> None:
    """A retry that matches no failure is refused, and the run stays ended."""
    run_id = await a_run(harness, NEWS)
    assert await harness.drive(run_id) == "completed"
    with pytest.raises(UserError, match="nothing to retry"):
        await harness.service.retry(run_id, **what)
    assert await harness.status(run_id) == "completed"


async def test_a_retry_continues_a_cancelled_run(harness: Harness) -> None:
    """A run cancelled in mid-lane ends all its lanes, keeps its results and does the rest."""
    run_id = await a_run(harness, NEWS, keyword_metrics_all=["DONE-1", "SNOOZE-2"])
    (chunk_id,) = await harness.plan(run_id)
    await harness.worker.work(chunk_id)
    await harness.service.cancel(run_id)
    lanes = await harness.states(run_id)
    assert set(lanes.values()) == {"cancelled"}
    report = await run_report(harness.database, run_id, harness.clock.now())
    assert {phase["status"] for phase in report["phases"].values()} == {"cancelled"}
    await harness.query("UPDATE items SET item = 'DONE-2' WHERE item = 'SNOOZE-2'")
    await harness.query("UPDATE scripted_items SET item = 'DONE-2' WHERE item = 'SNOOZE-2'")
    retried = await harness.service.retry(run_id)
    assert retried.lanes == list(lanes)
    assert await harness.drive(run_id) == "completed"
    assert (await harness.attempts("DONE-1"), await harness.attempts("DONE-2")) == (1, 1)
    report = await run_report(harness.database, run_id, harness.clock.now())
    lane = report["phases"]["keyword_metrics"]["content_types"]["all"]
    assert (lane["status"], lane["retry_count"]) == ("completed", 0)


async def test_a_retry_starts_a_run_cancelled_before_its_start(harness: Harness) -> None:
    """Nothing had failed and nothing had run: the retry starts it."""
    run_id = await a_run(harness, NEWS)
    await harness.service.cancel(run_id)
    assert (await harness.service.retry(run_id)).lanes == list(await harness.states(run_id))
    assert await harness.drive(run_id) == "completed"


async def test_seconds_leave_pauses_out(harness: Harness) -> None:
    """The seconds of a run leave out its pauses, and the time between its end and a retry."""
    run_id = await a_run(harness, NEWS, keyword_metrics_all=["SNOOZE-1"])

    async def after(minutes: int, change: Callable[[UUID], Awaitable[Any]]) -> int:
        """Whole minutes of the run after a change that comes so many minutes later."""
        harness.clock.ahead_seconds += 60 * minutes + 1
        await change(run_id)
        async with harness.database.transaction() as conn:
            run = await runs.get(conn, run_id)
        assert run is not None
        return int(seconds_of(run, harness.clock.now()) / 60)

    service = harness.service
    assert await after(5, harness.orchestrator.advance) == 0
    assert await after(10, service.pause) == 10
    assert await after(100, service.resume) == 10
    assert await after(2, service.pause) == 12
    assert await after(1_000, service.cancel) == 12
    assert await after(3_600, service.retry) == 12
    assert await after(3, service.cancel) == 15


async def test_a_recomputed_dsi_replaces_the_old_one(harness: Harness) -> None:
    """Work on the old DSI, still running after cancel and retry, leaves no trace."""
    run_id = await a_run(harness, NEWS, dsi_calculation_news=["GATE-1"])
    for _ in range(20):
        ready = await harness.plan(run_id)
        if "dsi" in str([n for n, s in (await harness.states(run_id)).items() if s == "running"]):
            break
        for chunk_id in ready:
            await harness.worker.work(chunk_id)
    (chunk_id,) = ready
    working = asyncio.create_task(harness.worker.work(chunk_id))
    await harness.wait_until_attempted("GATE-1")
    await harness.service.cancel(run_id)
    await harness.service.retry(run_id)
    await open_gate(harness.database)
    assert await working
    assert "GATE-1" not in await harness.results(run_id)
    assert await harness.drive(run_id) == "completed"
    assert (await harness.results(run_id)).count("GATE-1") == 1
