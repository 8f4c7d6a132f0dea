"""Trends: the changes between two dated snapshots of DSI figures.

A change is given only for comparable figures: the same curve, version, AI-Overview factor and rule
for unknown volumes, AI Overviews known in both landscapes or in neither, and both figures known.
``differs`` lists the differences. A company missing from a landscape that was collected on that
date is *new* or *lost*. If the landscape was not collected, it is neither.
"""

import polars as pl

from serpline.analysis import dsi
from serpline.analysis.traffic import LANDSCAPE

SCHEMA = pl.Schema(
    {
        "content_type": pl.String,
        "market": pl.String,
        "device": pl.String,
        "company": pl.String,
        "status": pl.String,
        "comparable": pl.Boolean,
        "differs": pl.String,
        "rank_before": pl.Int64,
        "rank_after": pl.Int64,
        "rank_change": pl.Int64,
        "dsi_before": pl.Float64,
        "dsi_after": pl.Float64,
        "dsi_change": pl.Float64,
    }
)
_COMPANY = [*LANDSCAPE, "company"]
METHOD = ["curve", "curve_version", "ai_overview_factor", "ai_overviews", "unknown_volume"]
_COMPARED = [*_COMPANY, "rank", "dsi", *METHOD]
# The columns that are read from ``dsi.compute_dsi``.
FIGURES = pl.Schema({name: dsi.SCHEMA[name] for name in _COMPARED})


def changes(
    before: pl.DataFrame, after: pl.DataFrame, collections: tuple[pl.DataFrame, pl.DataFrame]
) -> pl.DataFrame:
    """One row per company of either snapshot; columns: ``SCHEMA``, sorted by landscape and company.

    ``before`` and ``after`` have the columns ``FIGURES``, with one collection per landscape each.
    ``collections``: ``content_type, market, device`` of the collected landscapes of each snapshot,
    including those without results. ``status``: ``kept``, ``new``, ``lost``, or ``not_collected``
    if a snapshot lacks the landscape. ``rank_change`` is positive for a rise. Changes are null if
    either side is null or the two are not ``comparable``. ``differs`` has the form
    ``curve_version 1 and 2``; it is empty for a company in one snapshot only.
    """
    joined = _side(before, "before").join(
        _side(after, "after"), on=_COMPANY, how="full", coalesce=True
    )
    for name, frame in zip(("before", "after"), collections, strict=True):
        seen = frame.select(LANDSCAPE).unique().with_columns(pl.lit(True).alias(f"seen_{name}"))
        joined = joined.join(seen, on=LANDSCAPE, how="left")
    return (
        joined.with_columns(
            status=_status(),
            differs=pl.concat_str(
                [_difference(n) for n in METHOD], separator=", ", ignore_nulls=True
            ),
        )
        .with_columns(comparable=(pl.col("status") == "kept") & (pl.col("differs") == ""))
        .with_columns(
            rank_change=pl.when("comparable").then(pl.col("rank_before") - pl.col("rank_after")),
            dsi_change=pl.when("comparable").then(pl.col("dsi_after") - pl.col("dsi_before")),
        )
        .select(SCHEMA.names())
        .cast(SCHEMA)
        .sort(_COMPANY)
    )


def _side(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    columns = frame.select(_COMPARED)
    twice = columns.filter(columns.select(_COMPANY).is_duplicated())
    if twice.height:
        raise ValueError(f"{twice.item(0, 'company')!r} has two figures in one snapshot")
    renamed = {column: f"{column}_{name}" for column in ("rank", "dsi", *METHOD)}
    return columns.rename(renamed).with_columns(pl.lit(True).alias(f"in_{name}"))


def _difference(name: str) -> pl.Expr:
    """A text such as ``curve_version 1 and 2``; null where both snapshots are equal."""
    before, after = pl.col(f"{name}_before"), pl.col(f"{name}_after")
    differ = before != after
    if name == "ai_overviews":
        # If both are partly known, they may know different pages.
        differ |= after == "partly"
    return pl.when(differ).then(pl.format(f"{name} {{}} and {{}}", before, after))


def _status() -> pl.Expr:
    both_seen = pl.col("seen_before").fill_null(False) & pl.col("seen_after").fill_null(False)
    return (
        pl.when(pl.col("in_before") & pl.col("in_after"))
        .then(pl.lit("kept"))
        .when(~both_seen)
        .then(pl.lit("not_collected"))
        .when(pl.col("in_after"))
        .then(pl.lit("new"))
        .otherwise(pl.lit("lost"))
    )
