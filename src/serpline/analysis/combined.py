"""The combined DSI of a company over content types.

Per market and device, from each content type's latest collected date (which run's that is, the
caller decides):

    combined DSI = Σ weight(type) · DSI(type) ÷ Σ weight(type)

over the types that were collected there at all. Weights are renormalised over those types and not
over the types a company appears in, so all companies of a market are measured alike: a company
that does not rank in a collected type has 0 there, which is known. A company whose DSI is unknown
in a collected type of positive weight has an unknown (null) combined DSI, and ``unknown_types``
says where to look. Types of different dates may meet; both ends of the dates are in the output.
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
_PLACE = ("market", "device")


def combined_dsi(
    figures: pl.DataFrame,
    collections: pl.DataFrame,
    weights: Mapping[str, float] = DEFAULT_WEIGHTS,
) -> pl.DataFrame:
    """One row per market, device and company; columns: ``SCHEMA``, sorted by rank.

    ``figures``: rows of ``dsi.compute_dsi`` with ``collected_on`` (a date). ``collections``:
    ``content_type, market, device, collected_on`` of every collection, those in which nobody
    ranked included. ``weights``: by content type, finite and not negative; a type without a weight
    is a ``UserError``, one of weight 0 is left out. The three lists in the output are joined by
    ``,`` and sorted; ``weights`` reads ``news=1,organic=2``.
    """
    _check_weights(weights)
    latest = _latest(collections, weights)
    dated = figures.select(*LANDSCAPE, "company", "dsi", pl.col("collected_on").cast(pl.Date))
    current = dated.join(latest, on=[*LANDSCAPE, "collected_on"], how="semi")
    places = _places(latest, weights)
    rows = [
        _combine(place, company, types, weights, places[place])
        for (place, company), types in _by_company(current).items()
    ]
    return ranked(pl.DataFrame(rows, SCHEMA, orient="row"), _PLACE).select(SCHEMA.names())


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


def _places(
    latest: pl.DataFrame, weights: Mapping[str, float]
) -> dict[tuple[str, str], dict[str, object]]:
    """What all companies of a market and device share."""
    groups = latest.sort(LANDSCAPE).group_by(_PLACE, maintain_order=True)
    places: dict[tuple[str, str], dict[str, object]] = {}
    for (market, device), rows in groups:
        types = rows["content_type"].to_list()
        places[str(market), str(device)] = {
            "content_types": ",".join(types),
            "weights": ",".join(f"{name}={weights[name]:g}" for name in types),
            "oldest_collected_on": rows["collected_on"].min(),
            "latest_collected_on": rows["collected_on"].max(),
        }
    return places


def _by_company(
    current: pl.DataFrame,
) -> dict[tuple[tuple[str, str], str], dict[str, float | None]]:
    companies: dict[tuple[tuple[str, str], str], dict[str, float | None]] = {}
    for content_type, market, device, company, dsi, _ in current.iter_rows():
        types = companies.setdefault(((market, device), company), {})
        if content_type in types:
            raise ValueError(f"{company!r} has two figures for {content_type!r} on one date")
        types[content_type] = dsi
    return companies


def _combine(
    place: tuple[str, str],
    company: str,
    types: Mapping[str, float | None],
    weights: Mapping[str, float],
    shared: Mapping[str, object],
) -> dict[str, object]:
    collected = str(shared["content_types"]).split(",")
    unknown = [name for name in collected if types.get(name, 0.0) is None]
    products = [weights[name] * (types.get(name) or 0.0) for name in collected]
    total = math.fsum(weights[name] for name in collected)
    return {
        "market": place[0],
        "device": place[1],
        "company": company,
        "rank": None,
        "dsi": None if unknown else rounded(math.fsum(products) / total),
        "unknown_types": ",".join(unknown),
        **shared,
    }
