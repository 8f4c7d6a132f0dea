"""A run that replaces another one takes its place in time; a late snapshot has its own."""

from datetime import timedelta
from pathlib import Path

from harness.world import open_world

from serpline.domain.names import ContentType
from serpline.domain.results import Ranking
from serpline.pipeline import trends
from serpline.store.results import combined, snapshots
from serpline.store.results.reading import stream
from serpline.store.results.selection import Selection

KEYWORDS = b"""keyword,market
best espresso machine,PL
coffee grinder,US
"""


async def test_a_replacement_stands_in_the_place_of_its_run(
    database_url: str, tmp_path: Path
) -> None:
    """Trends show the replacement where the replaced run was, and that run nowhere.

    Combined figures of the replacement weigh what was collected before the replaced run, not what
    came later.
    """
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        organic = await world.run(content_types=("organic",), analysis_depth=1)
        first = await world.run(content_types=("news",), analysis_depth=1)
        later = await world.run(content_types=("organic", "news"), analysis_depth=1)
        config = (await world.get(first)).config
        given = {**config, "backfill": {"kind": "recompute", "run_id": str(first)}}
        again = await world.run(**given)
        newest = await world.run(**{**given, "backfill": {"kind": "refetch", "run_id": str(again)}})
        async with world.services.database.transaction() as conn:
            for run_id in (again, newest):
                chosen = await combined.choose(conn, run_id)
                assert {(s.searches.content_type, s.scored_by) for s in chosen} == {
                    ("organic", organic),
                    ("news", run_id),
                }
            history = await snapshots.history(conn, later, ContentType.NEWS, 10)
            assert [each.run_id for each in history] == [later, newest]
            history = await snapshots.history(conn, first, ContentType.NEWS, 10)
            assert [each.run_id for each in history] == [first]


async def test_a_late_snapshot_is_marked(database_url: str, tmp_path: Path) -> None:
    """It is dated the day it was made, after all earlier runs, and names its slot everywhere.

    So does its recomputation.
    """
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        before = await world.run(content_types=("news",), analysis_depth=1)
        slot = world.services.clock.now() - timedelta(days=3)
        late = await world.run(
            content_types=("news",),
            analysis_depth=1,
            scheduled_for=slot,
            backfill={"kind": "late"},
        )
        async with world.services.database.transaction() as conn:
            (changes, *_) = await trends.between(conn, late, None, ContentType.NEWS)
            assert (changes["run_before"], changes["late_for_before"]) == (before, None)
            assert (changes["run_after"], changes["late_for_after"]) == (late, slot)
            for run_id, given_slot in ((late, slot), (before, None)):
                rows = stream(conn, Ranking, Selection(run_id=run_id))
                assert {row.late_for async for row in rows} == {given_slot}
        config = (await world.get(late)).config
        given = {**config, "backfill": {"kind": "recompute", "run_id": str(late)}}
        again = await world.run(**given)
        for run_id, named in (
            (late, slot.isoformat()),
            (before, None),
            (again, slot.isoformat()),
        ):
            sources = await world.query(
                "SELECT DISTINCT s ->> 'late_for' AS late_for FROM dsi_scores,"
                " jsonb_array_elements(sources) s WHERE run_id = :run",
                run=run_id,
            )
            assert sources == [{"late_for": named}]
