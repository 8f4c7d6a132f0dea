"""Share of voice: a company's estimated traffic against three usual denominators.

    share_of_results = Σ traffic of its results ÷ Σ traffic of all results
    share_of_first   = Σ traffic of its best result per keyword ÷ traffic of #1 everywhere
    share_of_volume  = Σ traffic of its results ÷ Σ volume of all collected keywords

The first says how the clicks on page results are divided and sums to 1 over companies. The second
says how much of what one result per keyword could win is won; it takes the best result only, so
that it is at most 1. The third counts the clicks that nobody gets too. All over the keywords whose
volume is known (or imputed): per content type, market and device, never summed over devices.
"""

import polars as pl

from serpline.analysis.ctr import ctr
from serpline.analysis.dsi import overview_unknown
from serpline.analysis.traffic import (
    DIGITS,
    LANDSCAPE,
    Estimated,
    TrafficConfig,
    estimate,
    exact_sums,
)

SCHEMA = pl.Schema(
    {
        "content_type": pl.String,
        "market": pl.String,
        "device": pl.String,
        "company": pl.String,
        "share_of_results": pl.Float64,
        "share_of_first": pl.Float64,
        "share_of_volume": pl.Float64,
        "traffic": pl.Float64,
        "best_traffic": pl.Float64,
        "all_results_traffic": pl.Float64,
        "first_everywhere_traffic": pl.Float64,
        "tracked_volume": pl.Float64,
        "keywords_collected": pl.Int64,
        "keywords_unknown_volume": pl.Int64,
        "keywords_unknown_ai_overview": pl.Int64,
        "unknown_volume": pl.String,
        "ai_overview_factor": pl.Float64,
        "curve": pl.String,
        "curve_version": pl.Int64,
    }
)
_COMPANY = (*LANDSCAPE, "company")


def share_of_voice(
    results: pl.DataFrame, collected: pl.DataFrame, config: TrafficConfig | None = None
) -> pl.DataFrame:
    """One row per content type, market, device and company that ranks; columns: ``SCHEMA``.

    The inputs are those of ``traffic.estimate``; give ``collected`` its ``volume``, or keywords
    without any result have none. Shares are fractions, null when the company has no result of
    known traffic or the denominator is 0. ``keywords_unknown_volume`` counts the landscape's
    collected keywords whose volume is not known, imputed or not; ``keywords_unknown_ai_overview``
    those with results whose page nobody asked for an AI Overview. Sorted by landscape and falling
    ``share_of_results``, ties by company.
    """
    given = estimate(results, collected, config or TrafficConfig())
    own = exact_sums(given.results, _COMPANY, "traffic")
    total = exact_sums(given.results, LANDSCAPE, "traffic")
    figures = (
        own.join(_best(given), on=_COMPANY, how="left")
        .join(total.rename({"traffic": "all_results_traffic"}), on=LANDSCAPE, how="left")
        .join(_ceilings(given), on=LANDSCAPE, how="left")
        .with_columns(
            share_of_results=_share("traffic", "all_results_traffic"),
            share_of_first=_share("best_traffic", "first_everywhere_traffic"),
            share_of_volume=_share("traffic", "tracked_volume"),
            unknown_volume=pl.lit(given.config.unknown_volume),
            ai_overview_factor=pl.lit(given.config.ai_overview_factor, pl.Float64),
            curve=pl.lit(given.curve.name),
            curve_version=pl.lit(given.curve.version),
        )
    )
    ordered = figures.sort(
        *LANDSCAPE,
        "share_of_results",
        "company",
        descending=[False, False, False, True, False],
        nulls_last=True,
    )
    return ordered.select(SCHEMA.names()).cast(SCHEMA)


def _share(part: str, whole: str) -> pl.Expr:
    ratio = pl.col(part) / pl.col(whole)
    return pl.when(pl.col(whole) > 0).then(ratio).round_sig_figs(DIGITS)


def _best(given: Estimated) -> pl.DataFrame:
    """The traffic of the company's best position for each keyword, summed."""
    first = given.results.group_by(*_COMPANY, "keyword_id").agg(
        pl.col("traffic").sort_by("position").first()
    )
    return exact_sums(first, _COMPANY, "traffic").rename({"traffic": "best_traffic"})


def _ceilings(given: Estimated) -> pl.DataFrame:
    """Per landscape: ``first_everywhere_traffic``, ``tracked_volume`` and the keyword counts."""
    page = [*LANDSCAPE, "keyword_id"]
    overviews = given.results.group_by(page).agg(
        pl.col("ai_overview").any(), overview_unknown=overview_unknown().any()
    )
    factor = pl.when(pl.col("ai_overview").fill_null(False)).then(given.config.ai_overview_factor)
    # A page without any result shows no AI Overview that is known of: its factor is 1.
    keywords = given.collected.join(overviews, on=page, how="left").with_columns(
        first_everywhere_traffic=pl.col("volume_used") * ctr(given.curve, 1) * factor.otherwise(1.0)
    )
    counts = keywords.group_by(LANDSCAPE).agg(
        keywords_collected=pl.len(),
        keywords_unknown_volume=(~pl.col("volume_known")).sum(),
        keywords_unknown_ai_overview=pl.col("overview_unknown").sum(),
    )
    firsts = exact_sums(keywords, LANDSCAPE, "first_everywhere_traffic")
    volumes = exact_sums(keywords, LANDSCAPE, "volume_used").rename(
        {"volume_used": "tracked_volume"}
    )
    return counts.join(firsts, on=LANDSCAPE).join(volumes, on=LANDSCAPE)
