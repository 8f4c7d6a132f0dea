"""The figures of phase 7, from frames to rows.

The phase imports this module only to compute, so a worker starts without polars.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, cast

import polars as pl

from serpline.analysis.combined import DEFAULT_WEIGHTS, combined_dsi
from serpline.analysis.completeness import together
from serpline.analysis.ctr import get_curve
from serpline.analysis.dsi import compute_dsi
from serpline.analysis.traffic import TrafficConfig
from serpline.config.run import PipelineConfig
from serpline.domain.phase_inputs import Component
from serpline.store.results.combined import COUNTED, Source
from serpline.store.tables.results import dsi_scores

Figures = Iterator[tuple[str, dict[str, Any]]]
"""Each item with its row of ``dsi_scores``, without run and content type.

An iterator, because a lane has 100,000 rows.
"""

_NONE: Mapping[str, Sequence[str]] = MappingProxyType({})
_LANDSCAPE = ("content_type", "market", "device")
_COMPANY = ("market", "device", "company")
# A combined figure has no such components of its own.
_TYPED_ONLY = ("traffic_share", "traffic", "traffic_total", "share_unweighted", "relevance")
# Components with a column of their own. The others go into ``detail``.
_COLUMNS = frozenset(column.name for column in dsi_scores.columns)


def typed(
    results: pl.DataFrame,
    collected: pl.DataFrame,
    sources: Sequence[Source],
    config: PipelineConfig,
    *,
    merged: Mapping[str, Sequence[str]] = _NONE,
    unfinished: Collection[Component] = (),
) -> Figures:
    """The figures of one content type, from its results and collected pages.

    ``merged``: by company, the domains that count as it; its figures name them. ``unfinished``: see
    ``analysis.completeness``.
    """
    traffic = TrafficConfig(
        curve=config.curve,
        ai_overview_factor=config.ai_overview_factor,
        unknown_volume=cast(Literal["exclude", "impute"], config.unknown_volume),
    )
    figures = compute_dsi(results, collected, traffic, unfinished).drop("content_type")
    return _rows(figures, sources, merged)


def combined(scores: pl.DataFrame, sources: Sequence[Source], config: PipelineConfig) -> Figures:
    """The combined figures, from the content types' figures (``SCORE``) and their collections.

    Components are the types' components, summed or left unknown. Coverage divides by the pages
    collected for all types, so all companies of a market and device share one denominator.
    """
    weights = {**DEFAULT_WEIGHTS, **config.content_type_weights}
    counted = [each for each in sources if weights[each.searches.content_type] > 0]
    searches = [
        (*each.landscape, each.searches.collected_on, each.searches.collected) for each in counted
    ]
    kinds = {**dict.fromkeys(_LANDSCAPE, pl.String), "collected_on": pl.Date, "collected": pl.Int64}
    collections = pl.DataFrame(searches, kinds, orient="row")
    own = scores.join(collections.drop("collected"), on=_LANDSCAPE)
    sums = own.group_by(_COMPANY).agg(pl.col(*COUNTED).sum(), pl.col("proxy").any())
    lacking = own.group_by(_COMPANY).agg("completeness")
    lacking = lacking.with_columns(
        pl.Series(
            "completeness",
            [together(each) for each in lacking["completeness"].to_list()],
            dtype=pl.String,
        )
    )
    pages = collections.group_by(_COMPANY[:2]).agg(keywords_collected=pl.col("collected").sum())
    curve = get_curve(config.curve)
    figures = (
        combined_dsi(own, collections, weights)
        .join(sums, on=_COMPANY, how="left", maintain_order="left")
        .join(lacking, on=_COMPANY, how="left", maintain_order="left")
        .join(pages, on=_COMPANY[:2], how="left", maintain_order="left")
        .with_columns(
            coverage=pl.col("keywords_ranked") / pl.col("keywords_collected"),
            curve=pl.lit(curve.name),
            curve_version=pl.lit(curve.version),
            **dict.fromkeys(_TYPED_ONLY),
        )
    )
    return _rows(figures, counted)


def _rows(
    figures: pl.DataFrame, sources: Sequence[Source], merged: Mapping[str, Sequence[str]] = _NONE
) -> Figures:
    by_place: dict[tuple[str, str], list[Source]] = {}
    for each in sources:
        by_place.setdefault((each.searches.market, each.searches.device), []).append(each)
    shared = {place: _source_columns(found) for place, found in by_place.items()}
    own = [name for name in figures.columns if name in _COLUMNS]
    further = [name for name in figures.columns if name not in _COLUMNS]
    return (
        (
            f"{row['market']}:{row['device']}:{row['company']}",
            {
                **{name: row[name] for name in own},
                **shared[row["market"], row["device"]],
                "detail": {name: row[name] for name in further} | _merged(merged, row["company"]),
            },
        )
        for row in figures.iter_rows(named=True)
    )


def _merged(merged: Mapping[str, Sequence[str]], company: str) -> dict[str, Any]:
    return {"merged": list(merged[company])} if company in merged else {}


def _source_columns(sources: Sequence[Source]) -> dict[str, Any]:
    """The columns that name a figure's sources."""
    return {
        "keywords_planned": sum(source.searches.planned for source in sources),
        "sources": [
            {
                "content_type": source.searches.content_type,
                "run_id": str(source.collected_by),
                "collected_on": str(source.searches.collected_on),
                "planned": source.searches.planned,
                "collected": source.searches.collected,
                "stale": source.is_stale,
                "late_for": source.late_for and source.late_for.isoformat(),
            }
            for source in sources
        ],
    }
