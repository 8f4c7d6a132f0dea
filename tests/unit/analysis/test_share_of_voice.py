"""Share of voice against its three denominators."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.analysis.dsi import compute_dsi
from serpline.analysis.traffic import TrafficConfig

Row = dict[str, Any]
_COLUMNS = {
    "content_type": pl.String,
    "market": pl.String,
    "device": pl.String,
    "keyword_id": pl.Int64,
    "url": pl.String,
    "company": pl.String,
    "position": pl.Int64,
    "volume": pl.Int64,
    "ai_overview": pl.Boolean,
    "relevance": pl.Float64,
}


def _row(company: str, keyword_id: int, position: int, volume: int | None, **other: Any) -> Row:
    """A result; by default US desktop organic at the company's page ``/p``."""
    row: Row = {"content_type": "organic", "market": "US", "device": "desktop"}
    row |= {"company": company, "keyword_id": keyword_id, "position": position, "volume": volume}
    return row | {"url": f"https://{company}/p", "ai_overview": False, "relevance": None} | other


def _results(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=_COLUMNS)


def _collected(count: int, **other: Any) -> pl.DataFrame:
    """Keywords 1 to ``count``, by default of US desktop."""
    columns = {"market": "US", "device": "desktop"} | other
    return pl.DataFrame({"keyword_id": range(1, count + 1)}).with_columns(
        pl.lit(value).alias(name) for name, value in columns.items()
    )


def _by_company(frame: pl.DataFrame) -> dict[str, Row]:
    rows = {row["company"]: row for row in frame.to_dicts()}
    assert len(rows) == frame.height
    return rows


def test_the_three_denominators_by_hand() -> None:
    """Three keywords, one without results: the shares are what a pocket calculator says."""
    frame = _results(
        _row("a.com", 1, 1, 1000),
        _row("a.com", 1, 3, 1000, url="https://a.com/second"),
        _row("b.com", 1, 2, 1000),
        _row("b.com", 2, 1, 200, ai_overview=True),
    )
    pages = _collected(3).with_columns(volume=pl.Series([1000, 200, 800]))
    rows = _by_company(compute_dsi(frame, pages))
    a, b = rows["a.com"], rows["b.com"]
    # a: 1000 x (28.23 + 10.73) % = 389.6; b: 1000 x 15.72 % + 200 x 28.23 % x 0.5 = 185.43.
    assert (a["traffic"], b["traffic"]) == (pytest.approx(389.6), pytest.approx(185.43))
    assert a["traffic_total"] == pytest.approx(575.03)
    assert a["traffic_share"] == pytest.approx(389.6 / 575.03)
    assert b["traffic_share"] == pytest.approx(185.43 / 575.03)
    # First everywhere: (1000 + 200 x 0.5 + 800) x 28.23 % = 536.37; a's best is 282.3.
    assert a["first_everywhere_traffic"] == pytest.approx(536.37)
    assert a["best_traffic"] == pytest.approx(282.3)
    assert a["share_of_first"] == pytest.approx(282.3 / 536.37)
    assert a["tracked_volume"] == 2000
    assert a["share_of_volume"] == pytest.approx(389.6 / 2000)
    assert (a["keywords_collected"], a["tracked_unknown_volume"]) == (3, 0)
    assert a["tracked_unknown_ai_overview"] == 0
    # Every keyword alike. a: 28.23 + 10.73 = 38.96; b: 15.72 + 28.23 x 0.5 = 29.835.
    assert a["share_unweighted"] == pytest.approx(38.96 / (38.96 + 29.835))
    assert b["share_unweighted"] == pytest.approx(29.835 / (38.96 + 29.835))


def test_unknown_volumes_are_counted_and_left_out() -> None:
    """A keyword of unknown volume is in no denominator. Its company has no share."""
    frame = _results(_row("a.com", 1, 1, 100), _row("b.com", 2, 1, None))
    rows = _by_company(compute_dsi(frame, _collected(3)))
    assert rows["a.com"]["traffic_share"] == 1.0
    assert rows["a.com"]["tracked_volume"] == 100
    assert rows["a.com"]["tracked_unknown_volume"] == 2
    b = rows["b.com"]
    assert (b["traffic_share"], b["share_of_first"], b["share_of_volume"]) == (None,) * 3


def test_imputed_volumes_are_in_every_denominator() -> None:
    """Imputed, keywords without results also have the median, and still count as unknown."""
    frame = _results(_row("a.com", 1, 1, 100), _row("b.com", 2, 1, None))
    config = TrafficConfig(unknown_volume="impute")
    a = _by_company(compute_dsi(frame, _collected(3), config))["a.com"]
    assert (a["tracked_volume"], a["tracked_unknown_volume"]) == (300, 2)
    assert a["share_of_first"] == pytest.approx(1 / 3)
    assert (a["unknown_volume"], a["curve"], a["curve_version"]) == ("impute", "classic", 1)


def test_volumes_of_nought_give_no_share() -> None:
    """Where every known volume is 0 the shares are unknown, not 0."""
    row = _by_company(compute_dsi(_results(_row("a.com", 1, 1, 0)), _collected(1)))["a.com"]
    assert row["traffic"] == 0
    assert (row["traffic_share"], row["share_of_first"], row["share_of_volume"]) == (None,) * 3


_ROWS = st.lists(
    st.builds(
        lambda company, keyword, position, overview: _row(
            company, keyword, position, (None, 0, 90, 700, 5)[keyword - 1], ai_overview=overview
        ),
        st.sampled_from(["a.com", "b.com", "c.com"]),
        st.integers(1, 5),
        st.integers(1, 40),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)


@given(st.data(), _ROWS)
def test_shares_are_shares(data: st.DataObject, rows: list[Row]) -> None:
    """Shares of results sum to 1, shares of first are at most 1, in any order of the rows."""
    # A page either shows an AI Overview or does not.
    shown = {row["keyword_id"] for row in rows if row["ai_overview"]}
    rows = [row | {"ai_overview": row["keyword_id"] in shown} for row in rows]
    out = compute_dsi(_results(*rows), _collected(5))
    total = out["traffic_share"].sum()
    assert total == pytest.approx(1 if out["traffic_total"].item(0) else 0, abs=1e-10)
    assert out["share_of_first"].drop_nulls().is_between(0, 1 + 1e-12).all()
    shuffled = data.draw(st.permutations(rows))
    assert out.equals(compute_dsi(_results(*shuffled), _collected(5).reverse()))
