"""What a figure lacks: the one definition of ``completeness``.

``complete``, or ``partial:`` with what is unknown, in this order:

- ``volumes``: no keyword of the company has a known volume, so its traffic share is unknown;
- ``traffic``: the traffic share is unknown for another reason: no position of the company has a
  click-through rate, or all volumes are 0;
- ``owners``: no YouTube result of the landscape has a known owner, so coverage and shares of
  companies with videos are too small;
- ``relevance``: no page of the company was analysed.

Volumes, owners and relevance are also named where their phase was skipped, failed or was not
chosen: then some of them came, and the figure rests on those. Counts beside the figure say how many
are missing.
"""

from collections.abc import Collection, Iterable

import polars as pl

from serpline.domain.phase_inputs import Component

COMPLETE = "complete"
_PARTIAL = "partial: "
_TRAFFIC = "traffic"
_ORDER = (Component.VOLUMES.value, _TRAFFIC, Component.OWNERS.value, Component.RELEVANCE.value)


def completeness(unfinished: Collection[Component] = ()) -> pl.Expr:
    """The column ``completeness`` of figures with the columns of ``dsi.SCHEMA``.

    ``unfinished``: the components whose phase did not complete.
    """
    no_share = pl.col("traffic_share").is_null()
    no_volume = pl.col("unknown_volume_keywords") == pl.col("keywords_ranked")
    is_volume = no_volume & pl.col("imputed_volume").is_null()
    unowned, videos = pl.col("unowned_results"), pl.col("youtube_results")
    conditions: dict[str, pl.Expr] = {
        Component.VOLUMES: (no_share & is_volume) | pl.lit(Component.VOLUMES in unfinished),
        _TRAFFIC: no_share & ~is_volume,
        Component.OWNERS: (unowned > 0)
        & ((unowned == videos) | pl.lit(Component.OWNERS in unfinished)),
        Component.RELEVANCE: pl.col("relevance").is_null()
        | pl.lit(Component.RELEVANCE in unfinished),
    }
    named = [pl.when(conditions[name]).then(pl.lit(name)) for name in _ORDER]
    parts = pl.concat_str(named, separator=", ", ignore_nulls=True)
    return pl.when(parts == "").then(pl.lit(COMPLETE)).otherwise(pl.lit(_PARTIAL) + parts)


def together(each: Iterable[str]) -> str:
    """The completeness of a figure that is made of others."""
    lacking = {name for one in each if one != COMPLETE for name in one[len(_PARTIAL) :].split(", ")}
    found = [name for name in _ORDER if name in lacking]
    return _PARTIAL + ", ".join(found) if found else COMPLETE
