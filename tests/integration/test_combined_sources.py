"""The sources of a combined DSI: the same keywords, market and device, each with its run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from serpline.config.run import PipelineConfig
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneKey, lanes_of
from serpline.domain.states import LaneStatus
from serpline.store.database import Database
from serpline.store.results import combined, scores, snapshots
from serpline.store.results.combined import Source
from serpline.store.runs import runs

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
DAY = timedelta(days=1)
ORGANIC, NEWS, VIDEO = "organic", "news", "video"


@dataclass
class Project:
    """Runs over the keyword 1 in the markets US and GB."""

    db: Database
    made: int = field(default=0)

    async def run(
        self,
        *types: str,
        before: timedelta = timedelta(),
        places: tuple[tuple[str, str], ...] = (("US", "desktop"),),
        failed: tuple[str, ...] = (),
        source: UUID | None = None,
        **config: Any,
    ) -> UUID:
        """A run that began that long before now; it collected and scored the types, unless failed.

        Of ``places`` each has one search page without results, so that no company is scored.
        """
        run_id = uuid4()
        devices = tuple(dict.fromkeys(device for _, device in places))
        wanted = PipelineConfig(content_types=types, devices=devices, **config)
        lanes = [
            (key, LaneStatus.FAILED if key.content_type in failed else LaneStatus.COMPLETED)
            for key in lanes_of(wanted.content_types)
        ]
        sources = dict.fromkeys(set(PhaseName) - {PhaseName.DSI_CALCULATION}, source or run_id)
        async with self.db.transaction() as conn:
            await runs.create(
                conn, run_id, mode="manual", config=wanted.to_json(), lanes=lanes,
                sources=sources, scheduled_for=wanted.scheduled_for,
            )  # fmt: skip
            self.made += 1
            await conn.execute(
                text("UPDATE pipeline_executions SET created_at = :at WHERE id = :run"),
                {"run": run_id, "at": NOW - before - timedelta(microseconds=1000 - self.made)},
            )
            for market in {market for market, _ in places}:
                await conn.execute(
                    text("INSERT INTO run_keywords VALUES (:run, 1, :market, 'keyword')"),
                    {"run": run_id, "market": market},
                )
            for kind in set(types) - set(failed) if source is None else ():
                for market, device in places:
                    await conn.execute(
                        text(
                            "INSERT INTO serps (run_id, content_type, keyword_id, market, device,"
                            " collected_at, results, source)"
                            " VALUES (:run, :type, 1, :market, :device, :at, 0, 'x')"
                        ),
                        {
                            "run": run_id, "type": kind, "market": market, "device": device,
                            "at": NOW - before,
                        },
                    )  # fmt: skip
        return run_id

    async def sources(self, run_id: UUID) -> dict[tuple[str, str, str], Source]:
        """By content type, market and device."""
        async with self.db.transaction() as conn:
            found = await combined.choose(conn, run_id)
        by_place = {source.landscape: source for source in found}
        assert len(by_place) == len(found)
        return by_place

    async def collectors(self, run_id: UUID) -> dict[str, UUID]:
        """Of the US on a desktop: content type → the run that collected it."""
        found = await self.sources(run_id)
        return {key[0]: source.collected_by for key, source in found.items()}


@pytest.fixture
def project(db: Database) -> Project:
    return Project(db)


async def test_an_earlier_run_counts_for_the_same_keywords_alone(project: Project) -> None:
    """Runs of another landscape or fewer keywords, untracked, later or failed ones do not count."""
    right = await project.run(NEWS, before=9 * DAY, landscape="coffee")
    for other in ({}, {"landscape": "tea"}, {"landscape": "coffee", "keyword_limit": 3}):
        await project.run(NEWS, VIDEO, before=3 * DAY, **other)
    await project.run(NEWS, before=2 * DAY, landscape="coffee", enable_historical_tracking=False)
    await project.run(NEWS, before=DAY, landscape="coffee", failed=(NEWS,))
    run_id = await project.run(ORGANIC, NEWS, landscape="coffee", failed=(NEWS,))
    await project.run(NEWS, before=-DAY, landscape="coffee")
    assert await project.collectors(run_id) == {ORGANIC: run_id, NEWS: right}
    private = await project.run(
        ORGANIC, landscape="coffee", before=-2 * DAY, enable_historical_tracking=False
    )
    assert await project.collectors(private) == {ORGANIC: private}


async def test_a_type_that_is_not_tracked_counts_nowhere_else(project: Project) -> None:
    """A content type's own setting decides for its results, whatever the run's."""
    untracked = {"enable_historical_tracking": False}
    news = await project.run(NEWS, VIDEO, before=3 * DAY, lanes={VIDEO: untracked})
    video = await project.run(
        NEWS, VIDEO, before=2 * DAY, enable_historical_tracking=False,
        lanes={VIDEO: {"enable_historical_tracking": True}},
    )  # fmt: skip
    run_id = await project.run(ORGANIC)
    assert await project.collectors(run_id) == {ORGANIC: run_id, NEWS: news, VIDEO: video}
    # A run that keeps its news out of history does not compare them with earlier ones either.
    own = await project.run(ORGANIC, NEWS, failed=(NEWS,), lanes={NEWS: untracked})
    assert await project.collectors(own) == {ORGANIC: own, VIDEO: video}


async def test_each_market_and_device_has_its_own_latest(project: Project) -> None:
    """A page without rankings is a collection too; only places of the run itself count."""
    desktop, mobile = ("US", "desktop"), ("US", "mobile")
    older = await project.run(NEWS, before=2 * DAY, places=(desktop, mobile, ("GB", "desktop")))
    newer = await project.run(NEWS, before=DAY, places=(desktop,))
    run_id = await project.run(ORGANIC, places=(desktop, mobile))
    found = await project.sources(run_id)
    assert {key: source.collected_by for key, source in found.items()} == {
        (ORGANIC, *desktop): run_id,
        (ORGANIC, *mobile): run_id,
        (NEWS, *desktop): newer,
        (NEWS, *mobile): older,
    }
    assert str(found[NEWS, "US", "mobile"].searches.collected_on) == "2026-11-28"


async def test_a_recomputed_run_stands_at_its_sources_date(project: Project) -> None:
    """Its types are its source's. It uses no later collection, and no run uses it."""
    news = await project.run(NEWS, before=3 * DAY)
    source = await project.run(ORGANIC, before=2 * DAY)
    later = await project.run(NEWS, before=DAY)
    again = await project.run(ORGANIC, before=timedelta(hours=1), source=source)
    found = await project.sources(again)
    organic = found[ORGANIC, "US", "desktop"]
    assert (organic.scored_by, organic.collected_by) == (again, source)
    assert found[NEWS, "US", "desktop"].collected_by == news
    run_id = await project.run(VIDEO)
    assert await project.collectors(run_id) == {ORGANIC: source, NEWS: later, VIDEO: run_id}


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("kind", "age", "config", "stale"),
    [
        (NEWS, DAY - HOUR, {}, False),
        (NEWS, DAY, {}, True),
        (ORGANIC, 30 * DAY, {}, False),
        (ORGANIC, 31 * DAY, {}, True),
        # The schedule's next slot was due, or is not yet.
        (NEWS, 3 * DAY, {"fresh_until": {NEWS: NOW + HOUR}}, False),
        (ORGANIC, 2 * HOUR, {"fresh_until": {ORGANIC: NOW}}, True),
        # The scheduled time counts, not the time of creation.
        (NEWS, HOUR, {"scheduled_for": NOW - DAY}, True),
    ],
)
async def test_results_older_than_their_period_are_stale(
    project: Project, kind: str, age: timedelta, config: Mapping[str, Any], *, stale: bool
) -> None:
    """The period is the schedule's or the type's default; a run's own figures are never stale."""
    other = next(each for each in (ORGANIC, NEWS) if each != kind)
    await project.run(kind, before=age, **config)
    found = await project.sources(await project.run(other, scheduled_for=NOW))
    assert found[kind, "US", "desktop"].is_stale is stale
    assert not found[other, "US", "desktop"].is_stale


async def test_the_combined_figure_has_a_row_for_each_company_that_it_weighs(
    project: Project,
) -> None:
    """A company only in an earlier run's news is planned; companies of unused runs are not."""
    news = await project.run(NEWS, before=HOUR)
    far = await project.run(NEWS, before=3 * DAY)
    run_id = await project.run(ORGANIC)
    lane = LaneKey(PhaseName.DSI_CALCULATION, ContentType.ALL)
    async with project.db.transaction() as conn:
        for scored, company in ((news, "news.example"), (far, "far.example"), (run_id, "a.com")):
            await conn.execute(
                text(
                    "INSERT INTO dsi_scores (run_id, content_type, market, device, company,"
                    " completeness, coverage, keywords_ranked, keywords_collected,"
                    " keywords_planned, relevance_basis, results, unknown_volume_keywords,"
                    " unknown_ai_overview_keywords, unanalysed_results, curve, curve_version,"
                    " proxy) SELECT id, :type, 'US', 'desktop', :company, 'complete', 1, 1, 1, 1,"
                    " 1, 1, 0, 0, 0, 'x', 1, false FROM pipeline_executions WHERE id = :run"
                ),
                {
                    "run": scored,
                    "company": company,
                    "type": ORGANIC if scored == run_id else NEWS,
                },
            )
        params = await combined.plan_params(conn, run_id, lane)
        planned = await conn.execute(
            text(scores.PLAN), {**params, "run": run_id, "content_type": "all"}
        )
    assert {row.item for row in planned} == {"US:desktop:news.example", "US:desktop:a.com"}


async def test_a_run_without_figures_has_no_snapshots(project: Project) -> None:
    """Changes between earlier runs are not its own."""
    earlier = [await project.run(ORGANIC, NEWS, before=no * DAY) for no in (9, 8)]
    run_id = await project.run(ORGANIC, NEWS, failed=(NEWS,))
    absent = await project.run(ORGANIC, failed=(ORGANIC,))
    async with project.db.transaction() as conn:
        found = {
            (run, kind): [
                each.run_id for each in await snapshots.history(conn, run, ContentType(kind), 3)
            ]
            for run, kind in ((run_id, ORGANIC), (run_id, NEWS), (absent, ORGANIC))
        }
    assert found == {
        (run_id, ORGANIC): [run_id, *reversed(earlier)],
        (run_id, NEWS): [],
        (absent, ORGANIC): [],
    }


async def test_keywords_that_only_one_of_two_runs_had_are_counted(project: Project) -> None:
    """They are counted by market, because a landscape may have grown."""
    places = (("US", "desktop"), ("GB", "desktop"))
    before, after = [await project.run(ORGANIC, places=places) for _ in range(2)]
    async with project.db.transaction() as conn:
        for run_id, keyword in ((before, 2), (after, 3), (after, 4)):
            await conn.execute(
                text("INSERT INTO run_keywords VALUES (:run, :keyword, 'US', 'x')"),
                {"run": run_id, "keyword": keyword},
            )
        changed = await snapshots.keywords_changed(conn, before, after)
    assert changed == {"US": (1, 2), "GB": (0, 0)}
