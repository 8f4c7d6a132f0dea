"""Estimated traffic of search results, the basis of DSI and share of voice.

    traffic(result) = volume(keyword, market) · CTR(overall position) · AI-Overview factor

The factor applies to every result of a page that shows an AI Overview. If the search did not
request one (null), it is 1, and the DSI counts the keyword as a missing input. A result has
*unknown* traffic (null) if its volume is unknown or its position has no value in the curve. It
enters no sum and is counted. Unknown volumes are left out (``exclude``) or replaced by the median
of the market's known volumes (``impute``), which every output marks. In a market without any known
volume they stay unknown. No figure is summed over devices: each device is its own landscape,
although a keyword's volume is the same on all of them.

Inputs are polars frames, checked here once. A frame that contradicts itself is the caller's bug and
raises ``ValueError``. A wrong setting raises ``UserError``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

from serpline.analysis.ctr import DEFAULT_CURVE, CtrCurve, beyond, ctr_column, get_curve
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType

UnknownVolume = Literal["exclude", "impute"]

LANDSCAPE = ("content_type", "market", "device")
# Significant digits of stored fractions: enough to recompute by hand, too few to show noise.
DIGITS = 12

_RESULT_TYPES = pl.Schema(
    {
        # Few values in many rows: as text they would be a quarter of a frame.
        "content_type": pl.Categorical(),
        "market": pl.Categorical(),
        "device": pl.Categorical(),
        "url": pl.String(),
        "company": pl.String(),
        "position": pl.Int64(),
        "volume": pl.Float64(),
        "ai_overview": pl.Boolean(),
        "relevance": pl.Float64(),
    }
)
_NULLABLE = frozenset({"volume", "relevance", "ai_overview", "owner_known"})


@dataclass(frozen=True, slots=True)
class TrafficConfig:
    """How traffic is estimated.

    ``curve``: a name in ``ctr.CURVES``. ``ai_overview_factor``: the share of clicks that remains
    below an AI Overview, 0 to 1. Published measurements of position 1 lose 34 to 58 %.
    """

    curve: str = DEFAULT_CURVE
    ai_overview_factor: float = 0.5
    unknown_volume: UnknownVolume = "exclude"

    def __post_init__(self) -> None:
        get_curve(self.curve)
        if not 0 <= self.ai_overview_factor <= 1:
            raise UserError(f"ai_overview_factor {self.ai_overview_factor!r} is not in 0..1")
        if self.unknown_volume not in get_args(UnknownVolume):
            raise UserError(f"unknown_volume {self.unknown_volume!r} is not exclude or impute")


@dataclass(frozen=True, slots=True)
class Estimated:
    """The checked inputs with their estimates.

    ``results``: the input's columns plus ``volume_used``, ``volume_known``, ``imputed_volume``,
    ``beyond_curve``, ``clicks`` (a search's share; null beyond the curve) and ``traffic`` (null:
    unknown). ``collected``: one row per content type,
    market, device and keyword, with ``volume_used`` and ``volume_known``.
    """

    results: pl.DataFrame
    collected: pl.DataFrame
    config: TrafficConfig
    curve: CtrCurve


def estimate(results: pl.DataFrame, collected: pl.DataFrame, config: TrafficConfig) -> Estimated:
    """Check the frames and estimate every result's traffic.

    ``results``: ``content_type, market, device, keyword_id, url, company, position`` (overall, from
    1), ``volume`` (a month's searches; nullable), ``ai_overview`` (of the page; nullable),
    ``relevance`` (of the URL, 0 to 1; nullable), and if you like ``owner_known`` (of a YouTube
    result whether its owner was looked up, else null). ``collected``: ``keyword_id, market,
    device`` of every keyword whose page was collected, including those without results. Add
    ``content_type`` unless all content types in ``results`` were collected for all of them. Add
    ``volume`` to know it for keywords without results.
    """
    found = _typed_results(results)
    pages = _typed_collected(collected, found)
    _refuse_uncollected(found, pages)
    volumes = _volumes(found, pages, config)
    curve = get_curve(config.curve)
    shown = pl.col("ai_overview").fill_null(False)
    factor = pl.when(shown).then(config.ai_overview_factor).otherwise(1.0)
    key = ["market", "keyword_id"]
    estimated = (
        found.drop("volume")
        .join(volumes, on=key, how="left", maintain_order="left")
        .with_columns(beyond_curve=beyond(curve))
        .with_columns(
            clicks=pl.when(~pl.col("beyond_curve")).then(ctr_column(curve) * factor),
            traffic=pl.when(~pl.col("beyond_curve")).then(
                pl.col("volume_used") * ctr_column(curve) * factor
            ),
        )
    )
    known_pages = pages.drop("volume").join(volumes, on=key, how="left", maintain_order="left")
    return Estimated(estimated, known_pages, config, curve)


def exact_sums(frame: pl.DataFrame, keys: Sequence[str], column: str) -> pl.DataFrame:
    """``keys`` and the sum of ``column`` without its nulls; null where all are null.

    ``math.fsum`` rounds correctly in any order of rows and with any number of threads, so the same
    inputs give the same bits everywhere.
    """
    lists = frame.group_by(keys).agg(pl.col(column).drop_nulls())
    sums = [math.fsum(values) if values else None for values in lists[column].to_list()]
    return lists.with_columns(pl.Series(column, sums, dtype=pl.Float64))


def overview_unknown() -> pl.Expr:
    """Whether it is unknown if a result's page shows an AI Overview: none was requested."""
    return pl.col("ai_overview").is_null() & (pl.col("content_type") == ContentType.ORGANIC.value)


def rounded(value: float) -> float:
    """``value`` rounded to 12 significant digits, as stored."""
    return float(f"{value:.{DIGITS}g}")


def _typed_results(results: pl.DataFrame) -> pl.DataFrame:
    _require(results, (*_RESULT_TYPES, "keyword_id"), "results")
    if "owner_known" not in results.columns:
        results = results.with_columns(owner_known=pl.lit(None, pl.Boolean))
    frame = results.select(*_RESULT_TYPES, "keyword_id", "owner_known")
    frame = frame.with_columns(pl.col(name).cast(kind) for name, kind in _RESULT_TYPES.items())
    _refuse_nulls(frame, [name for name in frame.columns if name not in _NULLABLE], "results")
    _refuse(frame, pl.col("position") < 1, "position", "below 1")
    _refuse_bad_volumes(frame)
    # In polars NaN is larger than any number, so this refuses it too.
    outside = ~pl.col("relevance").is_between(0, 1)
    _refuse(frame, outside, "relevance", "not in 0..1")
    return frame


def _typed_collected(collected: pl.DataFrame, results: pl.DataFrame) -> pl.DataFrame:
    _require(collected, ("market", "device", "keyword_id"), "collected")
    frame = collected.with_columns(pl.col("keyword_id").cast(results.schema["keyword_id"]))
    if "volume" not in frame.columns:
        frame = frame.with_columns(volume=pl.lit(None))
    if "content_type" not in frame.columns:
        frame = frame.join(results.select("content_type").unique(), how="cross")
    frame = frame.select(*LANDSCAPE, "keyword_id", pl.col("volume").cast(pl.Float64))
    frame = frame.cast(pl.Schema({name: _RESULT_TYPES[name] for name in LANDSCAPE}))
    _refuse_nulls(frame, [*LANDSCAPE, "keyword_id"], "collected")
    _refuse_bad_volumes(frame)
    return frame.group_by(*LANDSCAPE, "keyword_id").agg(pl.col("volume").max())


def _refuse_uncollected(results: pl.DataFrame, pages: pl.DataFrame) -> None:
    uncollected = results.join(pages, on=[*LANDSCAPE, "keyword_id"], how="anti")
    if uncollected.height:
        names = [uncollected.item(0, name) for name in (*LANDSCAPE, "keyword_id")]
        raise ValueError(f"{uncollected.height} results of keywords not collected, such as {names}")


def _volumes(results: pl.DataFrame, pages: pl.DataFrame, config: TrafficConfig) -> pl.DataFrame:
    """Per market and keyword: ``volume_used``, ``volume_known``, ``imputed_volume``."""
    columns = ["market", "keyword_id", "volume"]
    volumes = (
        pl.concat([results.select(columns), pages.select(columns)])
        .group_by("market", "keyword_id")
        .agg(pl.col("volume").max(), lowest=pl.col("volume").min())
    )
    conflicting = volumes.filter(pl.col("volume") != pl.col("lowest"))
    if conflicting.height:
        where = [conflicting.item(0, "market"), conflicting.item(0, "keyword_id")]
        raise ValueError(
            f"{conflicting.height} keywords have two volumes in one market, such as {where}"
        )
    median = pl.col("volume").median().over("market")
    substitute = median if config.unknown_volume == "impute" else pl.lit(None, pl.Float64)
    known = pl.col("volume").is_not_null()
    return volumes.select(
        "market",
        "keyword_id",
        volume_used=pl.coalesce("volume", substitute),
        volume_known=known,
        imputed_volume=pl.when(~known).then(substitute),
    )


def _require(frame: pl.DataFrame, names: Sequence[str], what: str) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(f"the {what} frame lacks {', '.join(missing)}")


def _refuse_nulls(frame: pl.DataFrame, names: Sequence[str], what: str) -> None:
    for name in names:
        if frame[name].null_count():
            raise ValueError(f"the {what} frame has nulls in {name}")


def _refuse_bad_volumes(frame: pl.DataFrame) -> None:
    bad = (pl.col("volume") < 0) | ~pl.col("volume").is_finite()
    _refuse(frame, bad, "volume", "negative or not finite")


def _refuse(frame: pl.DataFrame, condition: pl.Expr, column: str, what: str) -> None:
    bad = frame.filter(condition)
    if bad.height:
        raise ValueError(f"{column} {bad.item(0, column)!r} is {what}")
