"""Runs whose pages are walls, or come in the encodings of the older web."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness.world import World, open_world, simulated

from serpline.cli.run_tables import show_report
from serpline.domain.states import RunStatus
from serpline.pipeline.report import run_report
from serpline.simulator.charsets import SENTENCES
from serpline.simulator.walls import WALLS

KEYWORDS = b"keyword,market\nferry tickets,US\nisland hotels,US\nharbour tours,US\n"
UNLIMITED = simulated(limits={"dataforseo": None, "wikidata": None})
ANALYSED = "SELECT * FROM content_analyses WHERE run_id = :run ORDER BY subject"


async def _organic(world: World, faults: list[dict[str, Any]], **config: Any) -> Any:
    """A run over organic results with these faults, and the model's calls that it made."""
    world.sim.set_faults(faults)
    before = len(world.sim.log.of("llm"))
    run_id = await world.run(content_types=["organic"], **config)
    return run_id, len(world.sim.log.of("llm")) - before


async def test_walls_have_a_kind_and_no_relevance(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the pages are walls: each is stored with its kind and without relevance.

    No model is paid for a wall, its result counts as not analysed, and ``run show`` counts walls by
    kind.
    """
    wall = {"fault": "wall", "provider": "pages", "probability": 0.6}
    async with open_world(database_url, tmp_path, KEYWORDS, config=UNLIMITED) as world:
        await world.start_worker()
        run_id, asked = await _organic(world, [wall])
        assert (await world.get(run_id)).status is RunStatus.COMPLETED
        rows = await world.query(ANALYSED, run=run_id)
        walls = [e.params["url"] for e in world.sim.log.of("pages") if e.fault == "wall"]
        # A page that moved is a wall at its new address.
        struck = {url.replace("/current/", "/") for url in walls}
        empty = [row for row in rows if row["empty_kind"]]
        content = [row for row in rows if not row["empty_kind"]]
        assert len(struck) > 10
        assert len(content) > 5
        assert _urls(empty) >= struck
        for row in empty:
            assert row["relevance"] is row["sentiment"] is row["summary"] is None
        assert all(row["relevance"] is not None and row["model"] for row in content)
        assert asked == sum(row["model"] is not None for row in rows)
        # The next run fetches free pages again, and buys nothing that is stored.
        again, asked = await _organic(world, [])
        later = {row["subject"]: row for row in await world.query(ANALYSED, run=again)}
        healed = {row["subject"] for row in empty if row["model"] is None}
        assert asked <= len(healed)
        assert any(later[subject]["relevance"] is not None for subject in healed)
        assert all(later[row["subject"]]["relevance"] == row["relevance"] for row in content)

        now = world.services.clock.now()
        report = await run_report(world.services.database, run_id, now)
        kinds = Counter(row["empty_kind"] for row in empty)
        assert {row["kind"]: row["pages"] for row in report["empty_pages"]} == kinds
        show_report(report)
        shown = capsys.readouterr().out
        assert "Pages without content" in shown
        assert max(kinds, key=lambda kind: kinds[kind]) in shown


def _urls(rows: list[dict[str, Any]]) -> set[str]:
    return {row["subject"].removeprefix("u:") for row in rows}


@pytest.mark.parametrize("name", ["club", "cloudflare", "google_consent", "soft_404_ja"])
async def test_a_run_of_walls_alone(name: str, database_url: str, tmp_path: Path) -> None:
    """Every page is the same wall: the run completes, and relevance and DSI are unknown.

    A wall that only a reader recognises is named by the model, and the answer serves the next run.
    """
    wall = {"fault": "wall", "provider": "pages", "which": name}
    async with open_world(database_url, tmp_path, KEYWORDS[:32], config=UNLIMITED) as world:
        await world.start_worker()
        run_id, asked = await _organic(world, [wall])
        assert (await world.get(run_id)).status is RunStatus.COMPLETED
        rows = await world.query(ANALYSED, run=run_id)
        assert len(rows) > 5
        assert {row["empty_kind"] for row in rows} == {WALLS[name].kind}
        assert {row["relevance"] for row in rows} == {None}
        assert asked == (len(rows) if WALLS[name].long else 0)
        scores = await world.query("SELECT * FROM dsi_scores WHERE run_id = :run", run=run_id)
        assert scores
        assert {(s["relevance"], s["relevance_basis"], s["dsi"]) for s in scores} == {
            (None, 0, None)
        }
        _, asked = await _organic(world, [wall])
        assert asked == 0


async def test_pages_in_older_encodings(database_url: str, tmp_path: Path) -> None:
    """Whatever its encoding and declaration, the model receives the page's text."""
    odd = {"fault": "odd_charset", "provider": "pages"}
    async with open_world(database_url, tmp_path, KEYWORDS, config=UNLIMITED) as world:
        await world.start_worker()
        run_id, _ = await _organic(world, [odd])
        summaries = [
            row["summary"] for row in await world.query(ANALYSED, run=run_id) if row["summary"]
        ]
        assert len(summaries) > 10
        read = {
            label for label, (_, said) in SENTENCES.items() if any(said in s for s in summaries)
        }
        assert len(read) >= 6
        assert not any("\ufffd" in summary or "Ð" in summary for summary in summaries)
