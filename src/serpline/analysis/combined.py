"""The combined DSI of a company over content types.

Per market and device, from each content type's latest collected date (the caller chooses its run):

    combined DSI = Σ weight(type) · DSI(type) ÷ Σ weight(type)

over the types that were collected there. Weights are renormalised over these types and not over
the types in which a company appears, so all companies of a market are measured alike. A company
that does not rank in a collected type has 0 there, which is a known value. A company whose DSI is
unknown in a collected type of positive weight has an unknown (null) combined DSI, and
``unknown_types`` lists these types. Types may have different dates; the output has the oldest and
the latest.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

import polars as pl

from serpline.analysis.dsi import ranked
from serpline.analysis.traffic import LANDSCAPE, rounded
from serpline.domain.errors import UserError
from serpline.domain.names import SEARCHED_TYPES

DEFAULT_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {content_type.value: 1.0 for content_type in SEARCHED_TYPES}
)
SCHEMA = pl.Schema(
    {
        "market": pl.String,
        "device": pl.String,
        "company": pl.String,
        "rank": pl.Int64,
        "dsi": pl.Float64,
        "content_types": pl.String,
        "unknown_types": pl.String,
        "weights": pl.String,
        "oldest_collected_on": pl.Date,
        "latest_collected_on": pl.Date,
    }
)
_MARKET_KEYS = ("market", "device")
_SHARED = (*_MARKET_KEYS, "content_types", "weights", "oldest_collected_on", "latest_collected_on")
_MARKET_SCHEMA = pl.Schema({**{name: SCHEMA[name] for name in _SHARED}, "total": pl.Float64()})


def combined_dsi(
    figures: pl.DataFrame,
    collections: pl.DataFrame,
    weights: Mapping[str, float] = DEFAULT_WEIGHTS,
) -> pl.DataFrame:
    """One row per market, device and company; columns: ``SCHEMA``, sorted by rank.

    ``figures``: rows of ``dsi.compute_dsi`` with ``collected_on`` (a date). ``collections``:
    ``content_type, market, device, collected_on`` of every collection, including those without
    results. ``weights``: by content type, finite and not negative. A type without a weight raises
    ``UserError``; a type of weight 0 is left out. The three lists in the output are sorted and
    joined by ``,``; ``weights`` has the form ``news=1,organic=2``.
    """
    _check_weights(weights)
    latest = _latest(collections, weights)
    dated = figures.select(*LANDSCAPE, "company", "dsi", pl.col("collected_on").cast(pl.Date))
    current = dated.join(latest, on=[*LANDSCAPE, "collected_on"], how="semi")
    _refuse_duplicates(current)
    floats = {name: float(weight) for name, weight in weights.items()}
    weight = pl.col("content_type").replace_strict(floats, return_dtype=pl.Float64)
    unknown = pl.col("content_type").filter(pl.col("dsi").is_null())
    rows = (
        current.with_columns(product=weight * pl.col("dsi"))
        .group_by(*_MARKET_KEYS, "company")
        .agg("product", unknown_types=unknown.sort().str.join(","))
        .join(_markets(latest, weights), on=_MARKET_KEYS, how="left")
    )
    dsi = [
        None if None in products else rounded(math.fsum(products) / total)
        for products, total in rows.select("product", "total").iter_rows()
    ]
    found = rows.with_columns(pl.Series("dsi", dsi, dtype=pl.Float64))
    return ranked(found, _MARKET_KEYS).select(SCHEMA.names()).cast(SCHEMA)


def _check_weights(weights: Mapping[str, float]) -> None:
    for content_type, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise UserError(f"weight {weight!r} of {content_type!r} is negative or not finite")


def _latest(collections: pl.DataFrame, weights: Mapping[str, float]) -> pl.DataFrame:
    dates = collections.group_by(LANDSCAPE).agg(pl.col("collected_on").cast(pl.Date).max())
    for content_type in dates["content_type"].unique().sort():
        if content_type not in weights:
            raise UserError(f"no weight for content type {content_type!r}")
    counted = [content_type for content_type, weight in weights.items() if weight > 0]
    return dates.filter(pl.col("content_type").is_in(counted))


def _markets(latest: pl.DataFrame, weights: Mapping[str, float]) -> pl.DataFrame:
    """The columns that all companies of a market and device share. ``total``: sum of weights."""
    groups = latest.sort(LANDSCAPE).group_by(_MARKET_KEYS, maintain_order=True)
    rows = []
    for (market, device), found in groups:
        types = found["content_type"].to_list()
        rows.append(
            {
                "market": market,
                "device": device,
                "total": math.fsum(weights[name] for name in types),
                "content_types": ",".join(types),
                "weights": ",".join(f"{name}={weights[name]:g}" for name in types),
                "oldest_collected_on": found["collected_on"].min(),
                "latest_collected_on": found["collected_on"].max(),
            }
        )
    return pl.DataFrame(rows, _MARKET_SCHEMA, orient="row")


def _refuse_duplicates(current: pl.DataFrame) -> None:
    duplicates = current.filter(pl.struct(*LANDSCAPE, "company").is_duplicated())
    if duplicates.height:
        company, kind = duplicates.item(0, "company"), duplicates.item(0, "content_type")
        raise ValueError(f"{company!r} has two figures for {kind!r} on one date")
