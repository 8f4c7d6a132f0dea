"""The DSI's inputs, and its figures computed from stored rows."""

import random
import string
from typing import Any
from uuid import UUID, uuid4

import polars as pl
import pytest
from sqlalchemy import text

from serpline.analysis.dsi import compute_dsi
from serpline.analysis.traffic import TrafficConfig
from serpline.config.run import PipelineConfig
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import lanes_of
from serpline.domain.states import LaneStatus
from serpline.phases import dsi_figures
from serpline.phases.dsi_calculation import DsiCalculationPhase
from serpline.store import frames
from serpline.store.database import Connection, Database
from serpline.store.frames import read_frame
from serpline.store.results import combined, scores
from serpline.store.rows import insert_rows
from serpline.store.runs import items, planning, runs
from serpline.store.tables import metadata

# Separators, quotes, comments, escapes and NULLs of various formats.
HOSTILE = [*"\t\n\r\b\f\v\\\"'#,; N\u2028\x85\ufeffä😀", "\\N", "\\.", "NULL", "", "\r\n"]
ANY_NUMBER = [0.0, -0.0, 5e-324, 1e308, 0.1, 1 / 3, 123456789.123456789, float("inf")]
COLUMNS = {"a": str, "b": str, "whole": int, "number": float, "flag": bool}
ROWS = """
    SELECT * FROM unnest(CAST(:a AS text[]), CAST(:b AS text[]), CAST(:whole AS bigint[]),
        CAST(:number AS float8[]), CAST(:flag AS boolean[])) AS given(a, b, whole, number, flag)
"""


@pytest.mark.parametrize("count", [0, 1, 3000])
async def test_a_frame_has_the_rows_of_its_statement(
    db: Database, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """With any values, to the last bit, in any number of blocks."""
    monkeypatch.setattr(frames, "BLOCK_BYTES", 5000)
    chance = random.Random(count)
    drawn = {
        "a": lambda: "".join(chance.choices(HOSTILE, k=chance.randrange(4))),
        "b": lambda: chance.choice(HOSTILE),
        "whole": lambda: chance.choice([0, -1, 2**63 - 1, -(2**63), chance.randrange(10**9)]),
        "number": lambda: chance.choice([*ANY_NUMBER, chance.random()]),
        "flag": lambda: chance.random() < 0.5,
    }
    given: dict[str, list[Any]] = {
        name: [None if chance.random() < 0.1 else draw() for _ in range(count)]
        for name, draw in drawn.items()
    }
    async with db.transaction() as conn:
        frame = await read_frame(conn, text(ROWS), given, COLUMNS)
    assert frame.rows() == list(zip(*given.values(), strict=True))


COMPANIES = ["a.com", "b.com", "c.com", "youtube.com", "back\\slash\t.com", ""]
MARKETS, DEVICES, KEYWORDS = ["US", "PL"], ["desktop", "mobile"], range(1, 7)


class Lane:
    """A small run's random rows, and the DSI's inputs read directly from them."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.run_id = uuid4()
        run = {"run_id": self.run_id}
        organic = {**run, "content_type": "organic"}
        told = {"source": "x", "fetched_at": "2026-11-20T09:30:00Z"}
        self.metrics = [
            {**run, **told, "keyword_id": n, "market": market}
            | {"search_volume": chance.choice([None, 0, 10, 2**53 + 1, chance.randrange(10**6)])}
            for n in KEYWORDS
            for market in MARKETS
            if chance.random() < 0.8
        ]
        self.pages = [
            {**organic, "keyword_id": n, "market": market, "device": device, "results": 5}
            | {"source": "x", "collected_at": "2026-11-20T09:30:00Z"}
            | {"ai_overview": chance.choice([None, False, True])}
            for n in KEYWORDS
            for market in MARKETS
            for device in DEVICES
            if chance.random() < 0.8
        ]
        self.results = [
            {key: page[key] for key in ("run_id", "content_type", "keyword_id", "market", "device")}
            | {"rank": rank, "position": rank, "title": "x", "domain": chance.choice(COMPANIES)}
            | dict.fromkeys(("url", "canonical_url"), self._url(chance))
            for page in self.pages
            for rank in range(1, chance.randrange(8))
        ]
        pages = sorted({(row["canonical_url"], row["market"]) for row in self.results})
        self.relevance = {page: chance.random() for page in pages if chance.random() < 0.7}

    def _url(self, chance: random.Random) -> str:
        return f"https://x.com/{chance.choice(string.ascii_lowercase)}{chance.choice(HOSTILE)}"

    async def store(self, conn: Connection) -> None:
        lanes = [(key, LaneStatus.COMPLETED) for key in lanes_of([ContentType.ORGANIC])]
        config = {"devices": DEVICES}
        await runs.create(conn, self.run_id, mode="manual", config=config, lanes=lanes)
        planned = [
            {"run_id": self.run_id, "keyword_id": n, "keyword": f"keyword {n}", "market": market}
            for n in KEYWORDS
            for market in MARKETS
        ]
        analyses = [
            {"run_id": self.run_id, "content_type": "organic", "subject": f"u:{url}"}
            | {"market": market, "relevance": value, "judged_for": [], "sentiment": "neutral"}
            | {"content_kind": "other", "topics": [], "brands": [], "summary": "", "model": "m"}
            | {"prompt": "p", "fetched_at": "2026-11-20T09:30:00Z"}
            for (url, market), value in self.relevance.items()
        ]
        for name, rows in {
            "run_keywords": planned,
            "keyword_metrics": self.metrics,
            "serps": self.pages,
            "serp_results": self.results,
            "content_analyses": analyses,
        }.items():
            await insert_rows(conn, metadata.tables[name], rows)

    def frames(self, chance: random.Random) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Results and collected pages, looked up row by row, in any order."""
        volumes = {(m["keyword_id"], m["market"]): m["search_volume"] for m in self.metrics}
        labels = ("content_type", "market", "device", "keyword_id")
        pages = [
            {name: page[name] for name in labels}
            | {"volume": volumes.get((page["keyword_id"], page["market"]))}
            for page in self.pages
        ]
        shown = {tuple(page[name] for name in labels): page["ai_overview"] for page in self.pages}
        results = [
            {name: row[name] for name in labels}
            | {"url": row["canonical_url"], "company": row["domain"] or scores.UNKNOWN_COMPANY}
            | {"position": row["position"], "ai_overview": shown[tuple(row[n] for n in labels)]}
            | {"volume": volumes.get((row["keyword_id"], row["market"]))}
            | {"relevance": self.relevance.get((row["canonical_url"], row["market"]))}
            for row in self.results
        ]
        chance.shuffle(pages)
        chance.shuffle(results)
        kinds: dict[str, Any] = {"volume": pl.Int64, "relevance": pl.Float64}
        return (
            pl.DataFrame(
                results,
                schema_overrides={**kinds, "ai_overview": pl.Boolean},
                infer_schema_length=None,
            ),
            pl.DataFrame(pages, schema_overrides={"volume": pl.Int64}, infer_schema_length=None),
        )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("unknown_volume", ["exclude", "impute"])
async def test_stored_rows_give_the_figures_of_the_pure_function(
    db: Database, monkeypatch: pytest.MonkeyPatch, seed: int, unknown_volume: Any
) -> None:
    """To the last bit, with every component, in any order of the rows."""
    monkeypatch.setattr(frames, "BLOCK_BYTES", 2000)
    lane, config = Lane(seed), PipelineConfig(unknown_volume=unknown_volume)
    async with db.transaction() as conn:
        await lane.store(conn)
        sources = dict.fromkeys(map(str, PhaseName), lane.run_id)
        results, collected = await scores.inputs(conn, sources, "organic")
        behind = await combined.of_type(conn, lane.run_id, "organic")
    found = dict(dsi_figures.typed(results, collected, behind, config))
    traffic = TrafficConfig(unknown_volume=unknown_volume)
    expected = compute_dsi(*lane.frames(random.Random(seed)), traffic)
    assert len(found) == expected.height > 0
    for row in expected.iter_rows(named=True):
        told = found[f"{row['market']}:{row['device']}:{row['company']}"]
        assert {**told["detail"], **told, "content_type": "organic"}.items() >= row.items()
        pages = [
            p for p in lane.pages if (p["market"], p["device"]) == (row["market"], row["device"])
        ]
        assert told["keywords_planned"] == len(KEYWORDS)
        assert told["sources"][0]["collected"] == len(pages) == row["keywords_collected"]


async def test_a_lane_of_any_size_is_computed_once(db: Database) -> None:
    """All its companies are one chunk, because their figures are shares of one whole."""
    run_id, count = uuid4(), 15_001
    lanes = [(key, LaneStatus.RUNNING) for key in lanes_of([ContentType.ORGANIC])]
    dsi = next(key for key, _ in lanes if key.phase is PhaseName.DSI_CALCULATION)
    phase = DsiCalculationPhase()
    async with db.transaction() as conn:
        await runs.create(conn, run_id, mode="manual", config={}, lanes=lanes)
        await _many_companies(conn, run_id, count)
        lane_id = await items.lane_id(conn, run_id, dsi)
        params = await combined.plan_params(conn, run_id, dsi)
        params |= {"run": run_id, "content_type": "organic"}
        size = phase.chunk_size(PipelineConfig())
        planned = await planning.plan(conn, lane_id, phase.plan_sql, params, size)
        (view,) = [view for view in await runs.lanes(conn, run_id) if view.id == lane_id]
    assert len(planned) == 1
    assert view.planned == count


async def _many_companies(conn: Connection, run_id: UUID, count: int) -> None:
    for statement in (
        "INSERT INTO serps (run_id, content_type, keyword_id, market, device, collected_at,"
        " results, source) VALUES (:run, 'organic', 1, 'US', 'desktop', now(), :n, 'x')",
        "INSERT INTO serp_results (run_id, content_type, keyword_id, market, device, rank,"
        " position, url, canonical_url, domain, title) SELECT :run, 'organic', 1, 'US', 'desktop',"
        " n, n, 'u', 'u', 'company-' || n || '.com', 'x' FROM generate_series(1, :n) n",
    ):
        await conn.execute(text(statement), {"run": run_id, "n": count})
