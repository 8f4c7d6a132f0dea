"""The figures of phase 7, from rows to rows: frames are made here, and nowhere else in ``phases``.

Apart from the phase, which imports it when it has figures to compute: a worker's start need not
wait for polars.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import polars as pl

from serpline.analysis.combined import DEFAULT_WEIGHTS, combined_dsi
from serpline.analysis.ctr import CtrCurve, get_curve
from serpline.analysis.dsi import compute_dsi
from serpline.analysis.traffic import TrafficConfig
from serpline.domain.config import PipelineConfig
from serpline.store.results.collection import Collection
from serpline.store.tables.results import dsi_scores

Row = Mapping[str, Any]
Figures = dict[str, dict[str, Any]]
"""A row of ``dsi_scores`` per item, without run and content type."""

# What has a column of its own; every further component goes into ``detail``.
_COLUMNS = frozenset(column.name for column in dsi_scores.columns) - {"run_id", "detail"}
_LABELS = ("market", "device", "company", "content_type")


def typed(
    results: Sequence[Row],
    collected: Sequence[Row],
    searches: Sequence[Collection],
    config: PipelineConfig,
) -> Figures:
    """The figures of one content type, from its results, collected pages and planned searches."""
    if not results:
        return {}
    traffic = TrafficConfig(
        curve=config.curve,
        ai_overview_factor=config.ai_overview_factor,
        unknown_volume=cast(Literal["exclude", "impute"], config.unknown_volume),
    )
    frame = pl.DataFrame(
        results,
        schema_overrides={
            "volume": pl.Float64,
            "relevance": pl.Float64,
            "ai_overview": pl.Boolean,
        },
        infer_schema_length=None,
    )
    pages = pl.DataFrame(
        collected, schema_overrides={"volume": pl.Float64}, infer_schema_length=None
    )
    figures = compute_dsi(frame, pages, traffic)
    planned = {(each.market, each.device): each.planned for each in searches}
    return {
        _item(row): {**_score(row), "keywords_planned": planned[row["market"], row["device"]]}
        for row in figures.iter_rows(named=True)
    }


def combined(scores: Sequence[Row], dates: Sequence[Row], config: PipelineConfig) -> Figures:
    """The combined figures, from those of the content types and when each was collected."""
    weights = {**DEFAULT_WEIGHTS, **config.content_type_weights}
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
            for row in scores
        ],
        schema_overrides={"dsi": pl.Float64},
        infer_schema_length=None,
    )
    collections = pl.DataFrame(dates, infer_schema_length=None)
    frame = combined_dsi(figures, collections, weights)
    curve = get_curve(config.curve)
    own: dict[str, list[Row]] = defaultdict(list)
    for score in scores:
        own[_item(score)].append(score)
    return {
        _item(row): _combined_score(row, own[_item(row)], curve)
        for row in frame.iter_rows(named=True)
    }


def _item(row: Row) -> str:
    return f"{row['market']}:{row['device']}:{row['company']}"


def _score(row: Row) -> dict[str, Any]:
    known = {name: value for name, value in row.items() if name in _COLUMNS}
    known.pop("content_type")
    detail = {n: v for n, v in row.items() if n not in _COLUMNS and n not in _LABELS}
    return {**known, "detail": detail}


def _combined_score(row: Row, own: Sequence[Row], curve: CtrCurve) -> dict[str, Any]:
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
        "keywords_planned": sum(t["keywords_planned"] for t in own),
        "traffic_share": None,
        "traffic": None,
        "traffic_total": None,
        "relevance": None,
        "relevance_basis": sum(t["relevance_basis"] for t in own),
        "results": sum(t["results"] for t in own),
        "unknown_volume_keywords": sum(t["unknown_volume_keywords"] for t in own),
        "unknown_ai_overview_keywords": sum(t["unknown_ai_overview_keywords"] for t in own),
        "unanalysed_results": sum(t["unanalysed_results"] for t in own),
        "curve": curve.name,
        "curve_version": curve.version,
        "proxy": any(t["proxy"] for t in own),
        "detail": detail,
    }
