"""The Digital Share Index: who owns a search landscape.

Per content type, market and device (serpline's design, "DSI"). Every component is stored, so that
anyone can recompute the figure by hand:

    coverage      = keywords where the company ranks ÷ keywords collected
    traffic share = Σ traffic of the company's results ÷ Σ traffic of all results
    relevance     = mean relevance of the company's analysed URLs
    DSI           = 100 · coverage · traffic share · relevance

``traffic`` estimates traffic. A keyword counts once for coverage, however many of the company's
URLs rank. A URL counts once for relevance, however many keywords it ranks for. Fractions are
rounded to 12 significant digits, and the DSI is computed from the rounded values, so that stored
figures recompute.

**Unknown is null, never a neutral value.** The relevance is unknown without an analysed URL, the
traffic share without a result of known traffic, and the DSI if either is. Each figure comes with
counts of the missing inputs. For video and news, CTR curves of organic results are proxies
(``proxy``).
"""

import math
from collections.abc import Collection

import polars as pl

from serpline.analysis.completeness import completeness
from serpline.analysis.share_of_voice import best_traffic, ceilings
from serpline.analysis.traffic import (
    DIGITS,
    LANDSCAPE,
    Estimated,
    TrafficConfig,
    estimate,
    exact_sums,
    overview_unknown,
    rounded,
)
from serpline.domain.names import ContentType
from serpline.domain.phase_inputs import Component

PROXY_TYPES = (ContentType.NEWS.value, ContentType.VIDEO.value)

SCHEMA = pl.Schema(
    {
        "content_type": pl.String,
        "market": pl.String,
        "device": pl.String,
        "company": pl.String,
        "rank": pl.Int64,
        "dsi": pl.Float64,
        "completeness": pl.String,
        "coverage": pl.Float64,
        "keywords_ranked": pl.Int64,
        "keywords_collected": pl.Int64,
        "traffic_share": pl.Float64,
        "traffic": pl.Float64,
        "traffic_total": pl.Float64,
        "share_unweighted": pl.Float64,
        "clicks": pl.Float64,
        "clicks_total": pl.Float64,
        "share_of_first": pl.Float64,
        "share_of_volume": pl.Float64,
        "best_traffic": pl.Float64,
        "first_everywhere_traffic": pl.Float64,
        "tracked_volume": pl.Float64,
        "tracked_unknown_volume": pl.Int64,
        "tracked_unknown_ai_overview": pl.Int64,
        "relevance": pl.Float64,
        "relevance_basis": pl.Int64,
        "results": pl.Int64,
        "unanalysed_results": pl.Int64,
        "youtube_results": pl.Int64,
        "unowned_results": pl.Int64,
        "beyond_curve_results": pl.Int64,
        "unknown_volume_keywords": pl.Int64,
        "unknown_ai_overview_keywords": pl.Int64,
        "unknown_volume": pl.String,
        "imputed_volume": pl.Float64,
        "ai_overview_factor": pl.Float64,
        "ai_overviews": pl.String,
        "curve": pl.String,
        "curve_version": pl.Int64,
        "proxy": pl.Boolean,
    }
)
_COMPANY = (*LANDSCAPE, "company")


def compute_dsi(
    results: pl.DataFrame,
    collected: pl.DataFrame,
    config: TrafficConfig | None = None,
    unfinished: Collection[Component] = (),
) -> pl.DataFrame:
    """One row per content type, market, device and company that ranks; columns: ``SCHEMA``.

    The inputs are those of ``traffic.estimate``. Rows are sorted by landscape and rank. ``rank``
    counts from 1 by falling DSI, ties by the company's name; it is null where the DSI is.
    ``traffic`` is in estimated clicks a month, shares and relevance are fractions, the DSI is 0 to
    100. ``unknown_volume_keywords`` counts the company's keywords without a known volume, imputed
    or not. ``imputed_volume`` is the market's median if it replaced any of them.
    ``unknown_ai_overview_keywords`` counts keywords whose search did not request AI Overviews.
    ``ai_overviews`` is the whole landscape's: ``known``, ``unknown``, ``partly`` known, or
    ``does not apply`` (only organic pages show any). ``youtube_results`` of the landscape and
    ``unowned_results``, those whose owner was not looked up, are the landscape's too.
    ``analysis.completeness`` defines ``completeness`` and ``unfinished``, ``share_of_voice`` the
    shares of first and of volume, the unweighted one, and their parts. The order of the input rows
    does not change a bit of the output.
    """
    given = estimate(results, collected, config or TrafficConfig())
    rows = (
        _counts(given)
        .join(_traffic(given), on=_COMPANY, how="left")
        .join(_relevance(given.results), on=_COMPANY, how="left")
        .join(best_traffic(given), on=_COMPANY, how="left")
        .join(ceilings(given), on=LANDSCAPE, how="left")
        .join(_clicks(given), on=_COMPANY, how="left")
        .join(_totals(given), on=LANDSCAPE, how="left")
        .join(_videos(given.results), on=LANDSCAPE, how="left")
        .join(_overviews(given), on=LANDSCAPE, how="left")
    )
    figures = rows.with_columns(
        coverage=(pl.col("keywords_ranked") / pl.col("keywords_collected")).round_sig_figs(DIGITS),
        traffic_share=_share("traffic", "traffic_total"),
        share_unweighted=_share("clicks", "clicks_total"),
        share_of_first=_share("best_traffic", "first_everywhere_traffic"),
        share_of_volume=_share("traffic", "tracked_volume"),
    ).with_columns(
        dsi=(
            100 * pl.col("coverage") * pl.col("traffic_share") * pl.col("relevance")
        ).round_sig_figs(DIGITS),
        completeness=completeness(unfinished),
    )
    return ranked(_labelled(figures, given), LANDSCAPE).select(SCHEMA.names()).cast(SCHEMA)


def ranked(figures: pl.DataFrame, within: tuple[str, ...]) -> pl.DataFrame:
    """Sort by ``within`` and falling ``dsi`` (unknown last), ties by company, and add ``rank``."""
    ordered = figures.sort(
        *within, "dsi", "company", descending=[*[False] * len(within), True, False], nulls_last=True
    )
    rank = pl.int_range(1, pl.len() + 1).over(within)
    return ordered.with_columns(rank=pl.when(pl.col("dsi").is_not_null()).then(rank))


def _counts(given: Estimated) -> pl.DataFrame:
    keyword = pl.col("keyword_id")
    return given.results.group_by(_COMPANY).agg(
        results=pl.len(),
        keywords_ranked=keyword.n_unique(),
        unknown_volume_keywords=keyword.filter(~pl.col("volume_known")).n_unique(),
        unknown_ai_overview_keywords=keyword.filter(overview_unknown()).n_unique(),
        imputed_volume=pl.col("imputed_volume").max(),
        beyond_curve_results=pl.col("beyond_curve").sum(),
    )


def _traffic(given: Estimated) -> pl.DataFrame:
    return exact_sums(given.results, _COMPANY, "traffic")


def _clicks(given: Estimated) -> pl.DataFrame:
    return exact_sums(given.results, _COMPANY, "clicks")


def _totals(given: Estimated) -> pl.DataFrame:
    traffic, clicks = (exact_sums(given.results, LANDSCAPE, each) for each in ("traffic", "clicks"))
    both = traffic.join(clicks, on=LANDSCAPE)
    return both.rename({"traffic": "traffic_total", "clicks": "clicks_total"})


def _videos(results: pl.DataFrame) -> pl.DataFrame:
    known = pl.col("owner_known")
    return results.group_by(LANDSCAPE).agg(
        youtube_results=known.count(), unowned_results=(~known).sum()
    )


def _share(part: str, whole: str) -> pl.Expr:
    ratio = pl.col(part) / pl.col(whole)
    return pl.when(pl.col(whole) > 0).then(ratio).round_sig_figs(DIGITS)


def _overviews(given: Estimated) -> pl.DataFrame:
    """Per landscape: ``ai_overviews``. Figures are comparable only if it is equal."""
    states = given.results.group_by(LANDSCAPE).agg(
        any_unknown=overview_unknown().any(), any_known=pl.col("ai_overview").is_not_null().any()
    )
    return states.select(
        *LANDSCAPE,
        ai_overviews=pl.when(pl.col("content_type") != ContentType.ORGANIC.value)
        .then(pl.lit("does not apply"))
        .when(pl.col("any_unknown") & pl.col("any_known"))
        .then(pl.lit("partly"))
        .when("any_unknown")
        .then(pl.lit("unknown"))
        .otherwise(pl.lit("known")),
    )


def _relevance(results: pl.DataFrame) -> pl.DataFrame:
    """Per company: ``relevance``, ``relevance_basis`` and ``unanalysed_results``."""
    value = pl.col("relevance")
    pages = results.group_by(*_COMPANY, "url").agg(value.max(), lowest=value.min(), rows=pl.len())
    conflicting = pages.filter(value != pl.col("lowest"))
    if conflicting.height:
        raise ValueError(
            f"{conflicting.height} URLs have two relevances, such as {conflicting.item(0, 'url')!r}"
        )
    lists = pages.group_by(_COMPANY).agg(
        value.drop_nulls(), unanalysed_results=pl.col("rows").filter(value.is_null()).sum()
    )
    analysed = lists["relevance"].to_list()
    means = [rounded(math.fsum(v) / len(v)) if v else None for v in analysed]
    return lists.with_columns(
        pl.Series("relevance", means, dtype=pl.Float64),
        pl.Series("relevance_basis", [len(v) for v in analysed], dtype=pl.Int64),
    )


def _labelled(figures: pl.DataFrame, given: Estimated) -> pl.DataFrame:
    return figures.cast(dict.fromkeys(LANDSCAPE, pl.String)).with_columns(
        unknown_volume=pl.lit(given.config.unknown_volume),
        ai_overview_factor=pl.lit(given.config.ai_overview_factor, pl.Float64),
        curve=pl.lit(given.curve.name),
        curve_version=pl.lit(given.curve.version),
        proxy=pl.col("content_type").is_in(list(PROXY_TYPES)),
    )
