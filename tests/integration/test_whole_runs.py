"""Facts about the cost of statements: linear in the run or the chunk, whatever the statistics.

The statistics are the worst possible: of a database without ANALYZE, or from before the run. The
tests count the rows that each statement handles.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from harness.collected_run import (
    CHUNK,
    DEPTH,
    ITEMS,
    KEYWORDS,
    ROWS,
    VIDEO,
    VIDEO_DSI,
    Filled,
    filled_database,
    lane_of,
    plan_items,
)
from harness.databases import copied_database
from harness.phase_work import owned
from harness.plans import count_handled_rows
from sqlalchemy import text

from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneKey
from serpline.domain.results import Figure, Ranking
from serpline.domain.states import StateStatus
from serpline.store import projects
from serpline.store.database import Connection, Database
from serpline.store.embedded.server import EmbeddedServer
from serpline.store.hash_joins import execute_hash_joined
from serpline.store.results import combined, inputs, scores
from serpline.store.results.collection import collection
from serpline.store.results.reading import stream
from serpline.store.results.selection import Selection
from serpline.store.runs import (
    chunks,
    failures,
    planning,
    plans,
    releases,
    settling,
    workers,
)  # fmt: skip
from serpline.store.runs.chunks import OwnedChunk
from serpline.store.runs.failures import FailureFilter
from serpline.store.runs.settling import Settlement

ANY = FailureFilter()

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
COMBINED = LaneKey(PhaseName.DSI_CALCULATION, ContentType.ALL)
OLDER = {
    "nothing counted": [],
    "a small run counted": [5],
    "a run counted": [KEYWORDS],
    "many runs counted": [KEYWORDS] * 12,
}


@pytest.fixture(
    scope="module",
    # One process fills each of them.
    params=[
        pytest.param(name, marks=pytest.mark.xdist_group(f"whole runs, {name}")) for name in OLDER
    ],
)
def filled(
    postgres: EmbeddedServer, template_database: str, request: pytest.FixtureRequest
) -> Iterator[Filled]:
    with filled_database(postgres, template_database, OLDER[request.param]) as made:
        yield made


@pytest.fixture
def database_url(postgres: EmbeddedServer, filled: Filled) -> Iterator[str]:
    with copied_database(postgres, filled.name) as url:
        yield url


@pytest.fixture
def run_id(filled: Filled) -> UUID:
    return filled.run_id


PLANS = {
    "keyword_metrics": plans.KEYWORD_METRICS,
    "serp_collection": plans.SERP_COLLECTION,
    "company_enrichment_serp": plans.COMPANY_ENRICHMENT_SERP,
    "youtube_enrichment": plans.YOUTUBE_ENRICHMENT,
    "company_enrichment_youtube": plans.COMPANY_ENRICHMENT_YOUTUBE,
    "content_analysis": plans.CONTENT_ANALYSIS,
    "dsi_calculation": scores.PLAN,
    "combined": scores.PLAN,
}
PLANNED = {
    "keyword_metrics": KEYWORDS,
    "serp_collection": KEYWORDS,
    "company_enrichment_serp": 0,
    "youtube_enrichment": KEYWORDS * DEPTH * 3 // 2,
    "company_enrichment_youtube": KEYWORDS * DEPTH,
    "content_analysis": KEYWORDS * DEPTH // 4,
    "dsi_calculation": KEYWORDS * DEPTH,
    "combined": KEYWORDS * DEPTH,
}


@pytest.mark.parametrize("phase", PLANS)
async def test_planning_grows_with_the_run(db: Database, run_id: UUID, phase: str) -> None:
    """It does for each phase, with and without statistics."""
    lane = COMBINED if phase == "combined" else VIDEO_DSI
    params = {
        "run": run_id,
        "content_type": lane.content_type,
        "devices": ["desktop"],
        "analysis_depth": DEPTH // 2,
    }
    async with db.transaction() as conn:
        params |= await combined.plan_params(conn, run_id, lane)
        lane_id = await lane_of(conn, run_id)
        with count_handled_rows() as seen:
            await planning.plan(conn, lane_id, PLANS[phase], params, CHUNK)
        planned = await conn.execute(
            text("SELECT count(*) FROM items WHERE lane_id = :lane"), {"lane": lane_id}
        )
    assert planned.scalar_one() == PLANNED[phase]
    assert seen.rows < 6 * ROWS


@dataclass(frozen=True)
class Read:
    """A read of a run: the rows that it returns, and the most that it may handle."""

    found: int
    handled: int
    by: Callable[[Connection, UUID], Awaitable[Any]]


def own(run_id: UUID) -> dict[str, UUID]:
    """The sources of a run that reads its own results."""
    return dict.fromkeys(PhaseName, run_id)


async def results(conn: Connection, run_id: UUID) -> Sequence[Any]:
    values = {**own(run_id), "content_type": "video"}
    return (await execute_hash_joined(conn, scores.RESULTS, values)).all()


async def collected(conn: Connection, run_id: UUID) -> Sequence[Any]:
    values = {**own(run_id), "content_type": "video"}
    return (await execute_hash_joined(conn, scores.COLLECTED, values)).all()


async def combined_scores(conn: Connection, run_id: UUID) -> Sequence[Any]:
    values = combined.chosen(await combined.choose(conn, run_id))
    return (await execute_hash_joined(conn, combined.SCORES, values)).all()


async def searches(conn: Connection, run_id: UUID, subjects: list[str]) -> Any:
    return await inputs.searches_of_subjects(conn, run_id, "video", subjects, depth=DEPTH, limit=5)


async def figures(conn: Connection, run_id: UUID) -> Sequence[Any]:
    of_run = Selection(run_id=run_id)
    return [row async for row in stream(conn, Figure, of_run, order=Figure.ORDER)]


async def rankings(conn: Connection, run_id: UUID, *companies: str) -> Sequence[Any]:
    of_run = Selection(run_id=run_id, companies=companies)
    return [row async for row in stream(conn, Ranking, of_run, order=Ranking.ORDER)]


async def best_figures(conn: Connection, run_id: UUID) -> Sequence[Any]:
    us = Selection(run_id=run_id, markets=("US",))
    return [row async for row in stream(conn, Figure, us, order=Figure.ORDER, per_place=7)]


RESULTS = KEYWORDS * DEPTH
FEW = CHUNK // 2
# Read row by row: some 250.
MARKETS = 300
# Read once: each lane of the run, the runs that it reads, and its date.
SOURCES = 50
ASKED = [f"v:vid{DEPTH + n}" for n in range(1, CHUNK + 1)]
READS = {
    "results": Read(RESULTS, 6 * ROWS, results),
    "collected": Read(KEYWORDS, 10 * KEYWORDS, collected),
    "rankings": Read(RESULTS, 6 * ROWS, rankings),
    "rankings of a company": Read(1, 6 * ROWS, lambda conn, run: rankings(conn, run, "oc21.com")),
    "planned and collected": Read(1, 15 * KEYWORDS, collection),
    # Nine for the figures and their companies, with the profiles of two phases and the order; three
    # for the channels of some; one for the list of merged domains.
    "figures": Read(RESULTS, (9 + 3 + 1) * RESULTS + SOURCES, figures),
    "the best figures": Read(7, (9 + 3) * RESULTS, best_figures),
    "scores of the combined": Read(RESULTS, 6 * RESULTS, combined_scores),
    "keywords": Read(
        FEW,
        6 * FEW + MARKETS,
        lambda conn, run: inputs.keyword_items(conn, run, [(n + 1, "US") for n in range(FEW)]),
    ),
    "searches of no subject": Read(0, MARKETS, lambda conn, run: searches(conn, run, [])),
    "searches of subjects": Read(
        CHUNK, 20 * CHUNK + MARKETS, lambda conn, run: searches(conn, run, ASKED)
    ),
}


@pytest.mark.parametrize("name", READS)
async def test_reading_grows_with_the_run(db: Database, run_id: UUID, name: str) -> None:
    """Reading a whole run costs the same with or without statistics and other runs."""
    read = READS[name]
    async with db.transaction() as conn:
        with count_handled_rows() as seen:
            found = await read.by(conn, run_id)
    assert len(found) == read.found
    assert seen.rows <= read.handled


async def settle(conn: Connection, chunk: OwnedChunk, status: StateStatus) -> None:
    """Settle every due item of the chunk."""
    due = await chunks.load(conn, chunk, NOW)
    settlements = [Settlement(row.item, status) for row in due]
    changed = await settling.settle_items(conn, chunk.lane_id, chunk.no, settlements)
    assert len(changed) == CHUNK


async def hand_over(conn: Connection, chunk: OwnedChunk) -> None:
    """Hand every due item of the chunk to a batch."""
    due = await chunks.load(conn, chunk, NOW)
    await settling.hand_over(conn, chunk, [row.item for row in due])


async def release(conn: Connection, chunk: OwnedChunk) -> None:
    """Release the chunk as it was claimed."""
    one = text(
        "UPDATE chunks SET status = 'owned', owner = :worker WHERE lane_id = :lane AND no = :no"
        " RETURNING id, epoch"
    )
    worker = await workers.register(conn, "here", 1)
    given = {"lane": chunk.lane_id, "no": chunk.no, "worker": worker}
    row = (await conn.execute(one, given)).one()
    mine = replace(chunk, id=row.id, epoch=row.epoch)
    await releases.release(conn, mine, due_in_seconds=None, now=NOW, loaded_at=NOW, at_once=True)


STEPS: dict[str, Callable[[Connection, OwnedChunk], Awaitable[None]]] = {
    "all completed": lambda conn, chunk: settle(conn, chunk, StateStatus.COMPLETED),
    "all failed": lambda conn, chunk: settle(conn, chunk, StateStatus.FAILED),
    "handed over": hand_over,
    "released": release,
}


@pytest.mark.parametrize("step", STEPS)
async def test_a_chunk_costs_its_own_items(db: Database, run_id: UUID, step: str) -> None:
    """Loading and settling read the chunk's items only, however large the lane."""
    async with db.transaction() as conn:
        lane_id = await plan_items(conn, run_id, ITEMS)
        with count_handled_rows() as seen:
            await STEPS[step](conn, owned(run_id, VIDEO, lane_id=lane_id, no=7))
    assert seen.rows < 15 * CHUNK


@pytest.mark.parametrize("status", [StateStatus.COMPLETED, StateStatus.FAILED])
async def test_a_settlement_costs_its_own_items(
    db: Database, run_id: UUID, status: StateStatus
) -> None:
    """A large chunk is settled in many portions, and none reads all of it."""
    async with db.transaction() as conn:
        lane_id = await plan_items(conn, run_id, ITEMS, ITEMS)
        due = await chunks.load(conn, owned(run_id, VIDEO, lane_id=lane_id, no=0), NOW)
        settlements = [Settlement(row.item, status) for row in due[:CHUNK]]
        with count_handled_rows() as seen:
            assert len(await settling.settle_items(conn, lane_id, 0, settlements)) == CHUNK
    assert seen.rows < 15 * CHUNK


async def test_failing_and_reopening_grow_with_the_lane(db: Database, run_id: UUID) -> None:
    """This covers a deadline, the listing of its failures, and their retry."""
    async with db.transaction() as conn:
        lane_id = await plan_items(conn, run_id, ITEMS)
        with count_handled_rows() as seen:
            assert await planning.fail_unfinished(conn, lane_id, "late", "timeout") == ITEMS
            assert len(await failures.page(conn, run_id, ANY, limit=ITEMS)) == ITEMS
            assert [row["items"] for row in await failures.counts(conn, run_id, ANY)] == [ITEMS]
            assert await planning.reopen_failed(conn, lane_id) == ITEMS
    assert seen.rows < 25 * ITEMS


async def test_the_languages_of_a_run_cost_the_same_for_more_keywords(
    db: Database, run_id: UUID
) -> None:
    """They are read for every call to Wikidata, from the run's markets and not its keywords."""
    more = (
        "INSERT INTO run_keywords (run_id, keyword_id, keyword, market)"
        " SELECT :run, 1000 + n, 'more', 'DE' FROM generate_series(1, 5000) n"
    )
    handled = []
    async with db.transaction() as conn:
        for statement, languages in (("SELECT 1", ["en"]), (more, ["de", "en"])):
            await conn.execute(text(statement), {"run": run_id})
            with count_handled_rows() as seen:
                assert await projects.market_languages(conn, run_id) == languages
            handled.append(seen.rows)
    assert handled[1] - handled[0] < 10


async def test_a_result_belongs_to_the_channel_that_its_url_names(
    db: Database, run_id: UUID
) -> None:
    """Even ranks name a channel by its handle; their videos are unknown."""
    async with db.transaction() as conn:
        found = await results(conn, run_id)
        await conn.execute(
            text("DELETE FROM youtube_channel_refs WHERE run_id = :r"), {"r": run_id}
        )
        unnamed = await results(conn, run_id)
    assert len(found) == len(unnamed) == KEYWORDS * DEPTH
    others = {row.url: row.company for row in unnamed}
    for row in found:
        number = row.url.rpartition("/")[2]
        assert row.company == f"oc{number}.com"
        nobody = int(number) % 2 == 0
        assert others[row.url] == (scores.UNKNOWN_COMPANY if nobody else row.company)
