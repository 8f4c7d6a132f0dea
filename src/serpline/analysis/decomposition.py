"""Why a DSI changed: its change, split exactly over its components.

    DSI = 100 · coverage · traffic share · relevance
    traffic share = Σ volume · clicks of the company ÷ Σ volume · clicks of all

``clicks`` is the share of a keyword's searches that go to a position (CTR · AI Overview factor).

The split is the Shapley value of the factors (Shapley 1953; for changes of a figure: Shorrocks,
"Decomposition procedures for distributional analysis", Journal of Economic Inequality 11, 2013): a
factor's effect, averaged over all orders in which the factors can change. It depends on no order
and leaves no rest. A factor may be 0, as those of a new or lost company are. (The logarithmic mean
Divisia index is exact too, but each zero needs a limit of its own: Wood and Lenzen, Energy Policy
34, 2006.)

Within the part of the traffic share, volume and positions are split in the same way, so the other
parts stay what they are (an Owen value). Positions are the company's own and those of all others.
"""

import polars as pl

from serpline.analysis.ctr import ctr_column
from serpline.analysis.traffic import LANDSCAPE, Estimated, exact_sums

FACTORS = ("coverage", "traffic_share", "relevance")
PARTS = ("coverage", "positions", "volume", "relevance")
_COMPANY = (*LANDSCAPE, "company")
_SIDES = ("before", "after")
_PAGE = ["market", "keyword_id"]


def add_parts(figures: pl.DataFrame) -> pl.DataFrame:
    """Add the parts of each row's change of DSI; their sum is ``dsi_after - dsi_before``.

    ``figures``: ``coverage``, ``traffic_share``, ``relevance`` and ``share_with`` (see
    ``share_with_volumes_of``), each with ``_before`` and ``_after``. Adds ``part_coverage``,
    ``part_traffic_share``, ``part_relevance``, and ``part_positions`` and ``part_volume``, which
    sum to the traffic share's; all in points of DSI. An unknown factor makes all parts null; an
    unknown ``share_with`` only the last two.
    """
    factors = {name: [pl.col(f"{name}_{side}") for side in _SIDES] for name in FACTORS}
    with_other = [pl.col(f"share_with_{side}") for side in _SIDES]
    added = {}
    for name, (before, after) in factors.items():
        (a0, a1), (b0, b1) = (given for other, given in factors.items() if other != name)
        weight = 100 * (a0 * b0 / 3 + (a0 * b1 + a1 * b0) / 6 + a1 * b1 / 3)
        # Null if any factor is, also where its weight is 0.
        added[f"part_{name}"] = (after - before) * weight
        if name == "traffic_share":
            by_volume = ((with_other[0] - before) + (after - with_other[1])) / 2
            added["part_volume"] = by_volume * weight
    return figures.with_columns(**added).with_columns(
        part_positions=pl.col("part_traffic_share") - pl.col("part_volume")
    )


def share_with_volumes_of(volumes: Estimated, positions: Estimated) -> pl.DataFrame:
    """Per company of ``positions``: ``share_with``, its traffic share by the other side's volumes.

    A volume that is unknown in ``volumes`` counts as it does there: not at all, or imputed. Null if
    no volume is known.
    """
    known = volumes.collected.select(*_PAGE, other="volume_used").unique(_PAGE)
    shown = pl.col("ai_overview").fill_null(False)
    factor = pl.when(shown).then(positions.config.ai_overview_factor).otherwise(1.0)
    counted = pl.when(~pl.col("beyond_curve")).then(
        pl.col("other") * ctr_column(positions.curve) * factor
    )
    results = positions.results.join(known, on=_PAGE, how="left").with_columns(counted=counted)
    totals = exact_sums(results, LANDSCAPE, "counted").rename({"counted": "total"})
    share = pl.col("counted").fill_null(0.0) / pl.col("total")
    return (
        exact_sums(results, _COMPANY, "counted")
        .join(totals, on=LANDSCAPE, how="left")
        .select(*_COMPANY, share_with=pl.when(pl.col("total") > 0).then(share))
    )
