"""What moved between two dates: the best position of a company for each keyword, on both.

Only keywords whose page was collected on both dates are compared: where a page is missing, a
position is unknown and not lost.
"""

import polars as pl

from serpline.analysis.traffic import LANDSCAPE

TOPS = (3, 10)
"""The places that are won and lost: as in the reports of rank trackers."""

_PAGE = [*LANDSCAPE, "keyword_id"]
_KEY = [*_PAGE, "company"]
_RESULT = ["url", "position"]
COUNTS = (
    "keywords_new",
    "keywords_lost",
    "keywords_up",
    "keywords_down",
    *(f"top{top}_{how}" for top in TOPS for how in ("won", "lost")),
)


def movements(
    before: tuple[pl.DataFrame, pl.DataFrame], after: tuple[pl.DataFrame, pl.DataFrame]
) -> pl.DataFrame:
    """One row per content type, market, device, keyword and company that ranks on either side.

    Each side: results (``LANDSCAPE``, ``keyword_id, company, url, position``) and collected pages
    (``LANDSCAPE, keyword_id``). Adds ``url`` and ``position`` of the best result ``_before`` and
    ``_after``, and ``movement``: ``new``, ``lost``, ``up``, ``down`` or ``same``.
    """
    pages = before[1].select(_PAGE).unique().join(after[1].select(_PAGE).unique(), on=_PAGE)
    sides = [
        results.select(*_KEY, *_RESULT)
        .join(pages, on=_PAGE, how="semi")
        .sort("position", "url")
        .unique(_KEY, keep="first", maintain_order=True)
        .rename({column: f"{column}_{side}" for column in _RESULT})
        for side, (results, _) in (("before", before), ("after", after))
    ]
    then, now = pl.col("position_before"), pl.col("position_after")
    kinds = (("new", then.is_null()), ("lost", now.is_null()), ("up", now < then))
    movement = pl.when(now > then).then(pl.lit("down")).otherwise(pl.lit("same"))
    for name, condition in reversed(kinds):
        movement = pl.when(condition).then(pl.lit(name)).otherwise(movement)
    joined = sides[0].join(sides[1], on=_KEY, how="full", coalesce=True)
    return joined.with_columns(movement=movement).sort(*_KEY)


def counted(moved: pl.DataFrame) -> pl.DataFrame:
    """Per company: ``COUNTS`` of its keywords. A place is won if the best result was not there."""
    then, now = pl.col("position_before"), pl.col("position_after")
    kinds = {
        f"keywords_{how}": (pl.col("movement") == how) for how in ("new", "lost", "up", "down")
    }
    tops: dict[str, pl.Expr] = {}
    for top in TOPS:
        was, is_ = (then <= top).fill_null(False), (now <= top).fill_null(False)
        tops |= {f"top{top}_won": is_ & ~was, f"top{top}_lost": was & ~is_}
    sums = {name: condition.sum() for name, condition in (kinds | tops).items()}
    return moved.group_by(*LANDSCAPE, "company").agg(**sums)
