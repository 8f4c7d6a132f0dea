"""The combined DSI over content types."""

import math
import random
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.analysis.combined import SCHEMA, combined_dsi
from serpline.domain.errors import UserError

MAY, JUNE = date(2026, 5, 1), date(2026, 6, 1)


def _figures(*rows: tuple[str, str, float | None, date]) -> pl.DataFrame:
    """Content type, company, DSI, date; all of US desktop."""
    names = ["content_type", "company", "dsi", "collected_on"]
    types = [pl.String, pl.String, pl.Float64, pl.Date]
    frame = pl.DataFrame(rows, dict(zip(names, types, strict=True)), orient="row")
    return frame.with_columns(market=pl.lit("US"), device=pl.lit("desktop"))


def _collections(*rows: tuple[str, date]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, {"content_type": pl.String, "collected_on": pl.Date}, orient="row")
    return frame.with_columns(market=pl.lit("US"), device=pl.lit("desktop"))


def _by_company(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["company"]: row for row in frame.to_dicts()}


BOTH = _collections(("organic", JUNE), ("news", JUNE))


def test_the_weighted_mean_by_hand() -> None:
    """(3 x 40 + 1 x 8) / 4 = 32. A company missing from a collected type has 0 there."""
    figures = _figures(
        ("organic", "a.com", 40.0, JUNE),
        ("news", "a.com", 8.0, JUNE),
        ("news", "b.com", 60.0, JUNE),
    )
    rows = _by_company(combined_dsi(figures, BOTH, {"organic": 3, "news": 1}))
    assert (rows["a.com"]["dsi"], rows["a.com"]["rank"]) == (32.0, 1)
    assert (rows["b.com"]["dsi"], rows["b.com"]["rank"]) == (15.0, 2)
    assert rows["a.com"]["content_types"] == "news,organic"
    assert rows["a.com"]["weights"] == "news=1,organic=3"


def test_weights_are_renormalised_over_the_types_collected() -> None:
    """A type never collected in the market takes no weight from the others."""
    figures = _figures(("organic", "a.com", 40.0, JUNE))
    weights = {"organic": 1, "news": 1, "video": 8}
    only = _collections(("organic", JUNE))
    assert combined_dsi(figures, only, weights)["dsi"].to_list() == [40.0]
    # Collected without results differs from not collected.
    assert combined_dsi(figures, BOTH, weights)["dsi"].to_list() == [20.0]


def test_each_type_counts_with_its_latest_date() -> None:
    """A newer collection replaces a type's old figure, even if it has none."""
    figures = _figures(
        ("organic", "a.com", 10.0, MAY),
        ("organic", "a.com", 30.0, JUNE),
        ("news", "a.com", 50.0, MAY),
    )
    dates = _collections(("organic", MAY), ("organic", JUNE), ("news", MAY))
    row = combined_dsi(figures, dates).to_dicts()[0]
    assert row["dsi"] == 40.0
    assert (row["oldest_collected_on"], row["latest_collected_on"]) == (MAY, JUNE)
    later = pl.concat([dates, _collections(("news", JUNE))])
    assert combined_dsi(figures, later)["dsi"].to_list() == [15.0]


def test_an_unknown_figure_makes_the_whole_unknown() -> None:
    """Null in a counted type makes the combined DSI null, and the type is named."""
    figures = _figures(
        ("organic", "a.com", 40.0, JUNE),
        ("news", "a.com", None, JUNE),
        ("news", "b.com", 1.0, JUNE),
    )
    out = combined_dsi(figures, BOTH)
    assert out["company"].to_list() == ["b.com", "a.com"]
    assert out["dsi"].to_list() == [0.5, None]
    assert out["rank"].to_list() == [1, None]
    assert out["unknown_types"].to_list() == ["", "news"]
    without = combined_dsi(figures, BOTH, {"organic": 1, "news": 0})
    assert without["dsi"].to_list() == [40.0]


def test_ties_rank_by_name_in_any_row_order() -> None:
    """Equal figures rank by name, in any order of the rows."""
    figures = _figures(*(("organic", name, 5.0, JUNE) for name in ("c.com", "a.com", "b.com")))
    out = combined_dsi(figures, BOTH)
    assert out["company"].to_list() == ["a.com", "b.com", "c.com"]
    assert out["rank"].to_list() == [1, 2, 3]
    assert out.equals(combined_dsi(figures.reverse(), BOTH.reverse()))


def test_nothing_gives_no_rows() -> None:
    """Without figures the frame is empty and has the same columns."""
    empty = combined_dsi(_figures(), BOTH)
    assert (empty.height, empty.schema) == (0, SCHEMA)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"organic": 1}, "no weight for content type 'news'"),
        ({"organic": -1, "news": 1}, "weight -1 of 'organic'"),
        ({"organic": float("inf"), "news": 1}, "weight inf of 'organic'"),
    ],
)
def test_wrong_weights_are_user_errors(weights: dict[str, float], message: str) -> None:
    """The error names the type and value of an invalid weight."""
    with pytest.raises(UserError, match=message):
        combined_dsi(_figures(("organic", "a.com", 1.0, JUNE)), BOTH, weights)


def test_two_figures_of_one_type_and_date_are_refused() -> None:
    """A company with two figures for one collection is a bug."""
    figures = _figures(("organic", "a.com", 1.0, JUNE), ("organic", "a.com", 2.0, JUNE))
    with pytest.raises(ValueError, match="two figures"):
        combined_dsi(figures, BOTH)


TYPES = ("organic", "news", "video")
DSI = st.none() | st.floats(0, 100)


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(TYPES), st.sampled_from(["US", "PL"]), st.sampled_from("abcd")),
        DSI,
        max_size=20,
    ),
    st.sets(st.tuples(st.sampled_from(TYPES), st.sampled_from(["US", "PL"])), max_size=6),
    st.tuples(*[st.sampled_from([0, 0.1, 1, 3])] * 3),
    st.randoms(use_true_random=False),
)
def test_every_company_has_the_mean_of_the_formula(
    found: dict[tuple[str, str, str], float | None],
    empty: set[tuple[str, str]],
    shares: tuple[float, float, float],
    chance: random.Random,
) -> None:
    """Each company's value over the types collected in its market, in any order of the rows."""
    weights = dict(zip(TYPES, shares, strict=True))
    collected = {(kind, market) for kind, market, _ in found} | empty
    expected: dict[tuple[str, str], float | None] = {}
    for market, company in {(market, company) for kind, market, company in found if weights[kind]}:
        kinds = [kind for kind in TYPES if (kind, market) in collected and weights[kind]]
        own = {kind: found.get((kind, market, company), 0.0) for kind in kinds}
        total = math.fsum(weights[kind] for kind in kinds)
        known = [weights[kind] * dsi for kind, dsi in own.items() if dsi is not None]
        expected[market, company] = (
            None if None in own.values() else float(f"{math.fsum(known) / total:.12g}")
        )
    rows = [(*key, dsi) for key, dsi in found.items()]
    chance.shuffle(rows)
    labels = dict.fromkeys(["content_type", "market", "company"], pl.String)
    figures = pl.DataFrame(rows, {**labels, "dsi": pl.Float64}, orient="row")
    collections = pl.DataFrame(
        list(collected), {"content_type": pl.String, "market": pl.String}, orient="row"
    )
    stamp = {"device": pl.lit("desktop"), "collected_on": pl.lit(JUNE)}
    combined = combined_dsi(
        figures.with_columns(**stamp), collections.with_columns(**stamp), weights
    )
    assert {(row["market"], row["company"]): row["dsi"] for row in combined.to_dicts()} == expected
    unknown = {key for key, dsi in expected.items() if dsi is None}
    assert {(row[0], row[2]) for row in combined.rows() if row[6]} == unknown
