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
from serpline.store.results.combined import Source
from serpline.store.tables.results import dsi_scores

Row = Mapping[str, Any]
Figures = dict[str, dict[str, Any]]
"""A row of ``dsi_scores`` per item, without run and content type."""

# What has a column of its own; every further component goes into ``detail``.
_COLUMNS = frozenset(column.name for column in dsi_scores.columns) - {"run_id", "detail"}
_LANDSCAPE = ("content_type", "market", "device")
_LABELS = (*_LANDSCAPE, "company")


def typed(
    results: Sequence[Row],
    collected: Sequence[Row],
    sources: Sequence[Source],
    config: PipelineConfig,
) -> Figures:
    """The figures of one content type, from its results and collected pages."""
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
    behind = {source.landscape: source for source in sources}
    return {
        _item(row): _score(row, behind[_landscape(row)]) for row in figures.iter_rows(named=True)
    }


def combined(scores: Sequence[Row], sources: Sequence[Source], config: PipelineConfig) -> Figures:
    """The combined figures, from those of the content types and what is behind them."""
    weights = {**DEFAULT_WEIGHTS, **config.content_type_weights}
    counted = {each.landscape: each for each in sources if weights[each.landscape[0]] > 0}
    own: dict[str, list[Row]] = defaultdict(list)
    for score in scores:
        if _landscape(score) in counted:
            own[_item(score)].append(score)
    if not own:
        return {}
    dates = {key: each.searches.collected_on for key, each in counted.items()}
    figures = pl.DataFrame(
        [
            (*(row[name] for name in _LABELS), row["dsi"], dates[_landscape(row)])
            for rows in own.values()
            for row in rows
        ],
        [*_LABELS, ("dsi", pl.Float64), "collected_on"],
        orient="row",
        infer_schema_length=None,
    )
    collections = pl.DataFrame(
        [(*key, on) for key, on in dates.items()], [*_LANDSCAPE, "collected_on"], orient="row"
    )
    frame = combined_dsi(figures, collections, weights)
    curve = get_curve(config.curve)
    places: dict[tuple[str, str], list[Source]] = defaultdict(list)
    for (_, market, device), each in counted.items():
        places[market, device].append(each)
    return {
        _item(row): _combined_score(
            row, own[_item(row)], places[row["market"], row["device"]], curve
        )
        for row in frame.iter_rows(named=True)
    }


def _landscape(row: Row) -> tuple[str, str, str]:
    return row["content_type"], row["market"], row["device"]


def _item(row: Row) -> str:
    return f"{row['market']}:{row['device']}:{row['company']}"


def _score(row: Row, source: Source) -> dict[str, Any]:
    known = {name: value for name, value in row.items() if name in _COLUMNS}
    known.pop("content_type")
    detail = {n: v for n, v in row.items() if n not in _COLUMNS and n not in _LABELS}
    return {
        **known,
        "keywords_planned": source.searches.planned,
        "sources": [_told(source)],
        "detail": detail,
    }


def _combined_score(
    row: Row, own: Sequence[Row], sources: Sequence[Source], curve: CtrCurve
) -> dict[str, Any]:
    """The combined figure; its components are those of the types, summed or left unknown.

    Coverage is of what was collected of all types, also of those in which the company does not
    rank: one denominator for all companies of a market and device.
    """
    collected = sum(source.searches.collected for source in sources)
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
        "keywords_planned": sum(source.searches.planned for source in sources),
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
        "sources": [_told(source) for source in sources],
        "detail": detail,
    }


def _told(source: Source) -> dict[str, Any]:
    """A source as it is stored in the rows whose figures come from it."""
    return {
        "content_type": source.searches.content_type,
        "run_id": str(source.collected_by),
        "collected_on": str(source.searches.collected_on),
        "planned": source.searches.planned,
        "collected": source.searches.collected,
        "stale": source.is_stale,
    }
