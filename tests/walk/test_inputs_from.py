"""A run of chosen phases uses the results of an earlier run, which may do so itself."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from uuid import UUID

from harness.tables import final_tables
from harness.world import World, open_world

from serpline.domain.names import ContentType, PhaseName
from serpline.domain.results import Ranking
from serpline.domain.states import RunStatus
from serpline.imports.reading import parse_keywords
from serpline.pipeline.report import run_report
from serpline.store import projects
from serpline.store.results import combined
from serpline.store.results.reading import stream
from serpline.store.results.selection import Selection

KEYWORDS = b"""keyword,market
best espresso machine,PL
best espresso machine,US
coffee grinder,US
"""
LATER = b"keyword,market\nmoka pot,US\n"
DSI = (PhaseName.DSI_CALCULATION,)
LAST_THREE = (
    PhaseName.COMPANY_ENRICHMENT_YOUTUBE,
    PhaseName.CONTENT_ANALYSIS,
    PhaseName.DSI_CALCULATION,
)
WRITTEN = {"dsi": ["dsi_scores"], "three": ["channel_owners", "content_analyses", "dsi_scores"]}


async def test_recomputing_a_run_gives_equal_rows(database_url: str, tmp_path: Path) -> None:
    """Each phase reads what its source run reads, through a chain of runs, for the same keywords.

    Nothing is searched again. Such a run gives no figure to another run.
    """
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        first = await world.run(analysis_depth=2, devices=("mobile",))
        searches = len(world.sim.log.of("scaleserp"))
        async with world.services.database.transaction() as conn:
            await projects.import_keywords(conn, parse_keywords(LATER).require_clean().rows)
        again = await _computed(world, first, DSI)
        chained = await _computed(world, again, DSI)
        three = await _computed(world, chained, LAST_THREE)
        expected = await final_tables(world.services.database, first)
        assert len(expected["dsi_scores"]) > 20
        for run_id, tables in ((again, "dsi"), (chained, "dsi"), (three, "three")):
            found = await final_tables(world.services.database, run_id)
            assert {name for name, rows in found.items() if rows} >= set(WRITTEN[tables])
            for name in WRITTEN[tables]:
                assert found[name] == expected[name]
            assert await _rankings(world, run_id) == await _rankings(world, first)
        assert len(world.sim.log.of("scaleserp")) == searches
        assert await _sources(world, chained) == dict.fromkeys(PhaseName, first) | {DSI[0]: chained}
        assert await _sources(world, three) == dict.fromkeys(PhaseName, first) | dict.fromkeys(
            LAST_THREE, three
        )
        later = await world.run(content_types=("news",), devices=("mobile",), analysis_depth=2)
        async with world.services.database.transaction() as conn:
            chosen = await combined.choose(conn, later)
        given = {source.searches.content_type: source.scored_by for source in chosen}
        assert given == {"organic": first, "news": later, "video": first}


async def _computed(world: World, source: UUID, phases: Sequence[PhaseName]) -> UUID:
    run_id = await world.run(phases=phases, inputs_from=source, analysis_depth=2)
    assert (await world.get(run_id)).status is RunStatus.COMPLETED
    return run_id


async def _rankings(world: World, run_id: UUID) -> list[dict[str, object]]:
    async with world.services.database.transaction() as conn:
        of_run = stream(conn, Ranking, Selection(run_id=run_id), order=Ranking.ORDER)
        rows = [{**asdict(row), "run_id": None} async for row in of_run]
    assert {row["state"] for row in rows} == {"ranked"}
    return rows


async def _sources(world: World, run_id: UUID) -> Mapping[PhaseName, UUID]:
    """The source run of each phase, as ``run show`` prints it."""
    report = await run_report(world.services.database, run_id, world.services.clock.now())
    found = {}
    for phase, lanes in report["phases"].items():
        (found[PhaseName(phase)],) = {
            lane["source_run_id"] for lane in lanes["content_types"].values()
        }
        assert set(lanes["content_types"]) <= {str(kind) for kind in ContentType}
    return found
