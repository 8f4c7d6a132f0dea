"""Phase 7: the Digital Share Index, from what is stored alone; no provider is asked.

Items are ``market:device:company``. The figures of a lane are computed in one go, since a share is
of a whole; a chunk then takes those of its companies. The combined lane weighs the figures that
the content types have already.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal, cast

import polars as pl

from serpline.analysis.combined import DEFAULT_WEIGHTS, combined_dsi
from serpline.analysis.ctr import CtrCurve, get_curve
from serpline.analysis.dsi import compute_dsi
from serpline.analysis.traffic import TrafficConfig
from serpline.domain.config import PipelineConfig
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.outcomes import Done, Outcome, Skip
from serpline.phases.base import Work
from serpline.store.chunks import ItemRow, OwnedChunk
from serpline.store.database import Connection
from serpline.store.results import scores
from serpline.store.rows import insert_rows
from serpline.store.tables.results import dsi_scores

Figures = dict[str, dict[str, Any]]
"""A row of ``dsi_scores`` per item, without run and content type."""

# What has a column of its own; every further component goes into ``detail``.
_COLUMNS = frozenset(column.name for column in dsi_scores.columns) - {"run_id", "detail"}
_LABELS = ("market", "device", "company", "content_type")


class DsiCalculationPhase:
    """Pure: the same stored inputs give the same figures, to the last bit."""

    name = PhaseName.DSI_CALCULATION
    plan_sql = scores.PLAN
    divisible = False

    def chunk_size(self, config: PipelineConfig) -> int:
        """A whole lane, as a rule: the computation is shared by all of it."""
        return 15_000

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """None of its own."""
        return {}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """The figures of each company."""
        if work.chunk.lane.content_type is ContentType.ALL:
            figures = await self._combined(work)
        else:
            figures = await self._typed(work)
        for row in items:
            found = figures.get(row.item)
            if found is None:
                yield Skip(row.item, "ranks in no content type that counts")
            else:
                yield Done(row.item, found)

    async def _typed(self, work: Work) -> Figures:
        chunk, config = work.chunk, work.config
        source = config.inputs_from or chunk.run_id
        kind = chunk.lane.content_type
        async with work.database.transaction() as conn:
            results = await scores.results(conn, chunk.run_id, source, kind)
            collected = await scores.collected(conn, source, kind)
        traffic = TrafficConfig(
            curve=config.curve,
            ai_overview_factor=config.ai_overview_factor,
            unknown_volume=cast(Literal["exclude", "impute"], config.unknown_volume),
        )
        # In a thread: a large lane takes seconds, and heartbeats must go on.
        frame = await asyncio.to_thread(_compute, results, collected, traffic)
        return {_item(row): _score(row) for row in frame.iter_rows(named=True)}

    async def _combined(self, work: Work) -> Figures:
        async with work.database.transaction() as conn:
            typed = await scores.latest_typed(conn, work.chunk.run_id)
            dates = await scores.collection_dates(conn, work.chunk.run_id)
        weights = {**DEFAULT_WEIGHTS, **work.config.content_type_weights}
        dated = {(d["content_type"], d["market"], d["device"]): d["collected_on"] for d in dates}
        figures = pl.DataFrame(
            [
                {
                    "content_type": row["content_type"],
                    "market": row["market"],
                    "device": row["device"],
                    "company": row["company"],
                    "dsi": row["dsi"],
                    "collected_on": dated[row["content_type"], row["market"], row["device"]],
                }
                for row in typed
            ],
            schema_overrides={"dsi": pl.Float64},
            infer_schema_length=None,
        )
        collections = pl.DataFrame(dates, infer_schema_length=None)
        frame = await asyncio.to_thread(combined_dsi, figures, collections, weights)
        curve = get_curve(work.config.curve)
        own: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for score in typed:
            own[_item(score)].append(score)
        return {
            _item(row): _combined_score(row, own[_item(row)], curve)
            for row in frame.iter_rows(named=True)
        }

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """A row per company, with every component."""
        kind = str(chunk.lane.content_type)
        rows = [{"run_id": chunk.run_id, "content_type": kind, **d.result} for d in done]
        await insert_rows(conn, dsi_scores, rows)


def _compute(
    results: list[dict[str, Any]], collected: list[dict[str, Any]], traffic: TrafficConfig
) -> pl.DataFrame:
    if not results:
        return pl.DataFrame()
    frame = pl.DataFrame(
        results,
        schema_overrides={"volume": pl.Float64, "relevance": pl.Float64},
        infer_schema_length=None,
    )
    pages = pl.DataFrame(
        collected, schema_overrides={"volume": pl.Float64}, infer_schema_length=None
    )
    return compute_dsi(frame, pages, traffic)


def _item(row: Mapping[str, Any]) -> str:
    return f"{row['market']}:{row['device']}:{row['company']}"


def _score(row: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in row.items() if name in _COLUMNS}
    known.pop("content_type")
    detail = {n: v for n, v in row.items() if n not in _COLUMNS and n not in _LABELS}
    return {**known, "detail": detail}


def _combined_score(
    row: Mapping[str, Any], own: Sequence[Mapping[str, Any]], curve: CtrCurve
) -> dict[str, Any]:
    """The combined figure; its components are those of the types, summed or left unknown."""
    collected = sum(t["keywords_collected"] for t in own)
    ranked = sum(t["keywords_ranked"] for t in own)
    detail = {n: v for n, v in row.items() if n not in _COLUMNS}
    return {
        "market": row["market"],
        "device": row["device"],
        "company": row["company"],
        "dsi": row["dsi"],
        "coverage": ranked / collected if collected else 0.0,
        "keywords_ranked": ranked,
        "keywords_collected": collected,
        "traffic_share": None,
        "traffic": None,
        "traffic_total": None,
        "relevance": None,
        "relevance_basis": sum(t["relevance_basis"] for t in own),
        "results": sum(t["results"] for t in own),
        "unknown_volume_keywords": sum(t["unknown_volume_keywords"] for t in own),
        "unanalysed_results": sum(t["unanalysed_results"] for t in own),
        "curve": curve.name,
        "curve_version": curve.version,
        "proxy": any(t["proxy"] for t in own),
        "detail": detail,
    }
