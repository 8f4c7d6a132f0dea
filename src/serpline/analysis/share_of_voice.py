"""Share of voice: a company's estimated traffic over three common denominators.

    share of results = Σ traffic of its results ÷ Σ traffic of all results
    share of first   = Σ traffic of its best result per keyword ÷ traffic of #1 everywhere
    share of volume  = Σ traffic of its results ÷ Σ volume of all collected keywords

and, where every keyword counts alike:

    unweighted share = Σ clicks of its results ÷ Σ clicks of all results

``clicks`` is traffic without the volume: CTR(overall position) · AI-Overview factor. This share
needs no volumes, so it is known without them. It is a measure of its own, often called visibility:
it never stands in for the traffic share, and no DSI is computed from it.

The first divides the clicks on page results among companies and sums to 1: it is the DSI's traffic
share. The second is the share of the most that one result per keyword can win. It counts the best
result only, so it is at most 1. The third includes searches without a click. All cover the keywords
whose volume is known (or imputed), per content type, market and device, never summed over devices.

``dsi.compute_dsi`` has the figures; this module computes the sums that only they need.
"""

import polars as pl

from serpline.analysis.ctr import ctr
from serpline.analysis.traffic import LANDSCAPE, Estimated, exact_sums, overview_unknown

_COMPANY = (*LANDSCAPE, "company")


def best_traffic(given: Estimated) -> pl.DataFrame:
    """Per company: the summed traffic of its best position for each keyword."""
    first = given.results.group_by(*_COMPANY, "keyword_id").agg(
        pl.col("traffic").sort_by("position").first()
    )
    return exact_sums(first, _COMPANY, "traffic").rename({"traffic": "best_traffic"})


def ceilings(given: Estimated) -> pl.DataFrame:
    """Per landscape: ``first_everywhere_traffic``, ``tracked_volume`` and counts of unknown inputs.

    ``tracked_unknown_volume`` counts the collected keywords without a known volume, imputed or not.
    ``tracked_unknown_ai_overview`` counts those with results whose search did not request AI
    Overviews.
    """
    page = [*LANDSCAPE, "keyword_id"]
    overviews = given.results.group_by(page).agg(
        pl.col("ai_overview").any(), overview_unknown=overview_unknown().any()
    )
    factor = pl.when(pl.col("ai_overview").fill_null(False)).then(given.config.ai_overview_factor)
    # A page without results has no known AI Overview: its factor is 1.
    keywords = given.collected.join(overviews, on=page, how="left").with_columns(
        first_everywhere_traffic=pl.col("volume_used") * ctr(given.curve, 1) * factor.otherwise(1.0)
    )
    counts = keywords.group_by(LANDSCAPE).agg(
        keywords_collected=pl.len(),
        tracked_unknown_volume=(~pl.col("volume_known")).sum(),
        tracked_unknown_ai_overview=pl.col("overview_unknown").sum(),
    )
    firsts = exact_sums(keywords, LANDSCAPE, "first_everywhere_traffic")
    volumes = exact_sums(keywords, LANDSCAPE, "volume_used").rename(
        {"volume_used": "tracked_volume"}
    )
    return counts.join(firsts, on=LANDSCAPE).join(volumes, on=LANDSCAPE)
