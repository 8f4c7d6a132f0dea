"""Changes between two snapshots."""

from typing import Any

import polars as pl
import pytest

from serpline.analysis.trends import SCHEMA, changes


def _snapshot(
    *rows: tuple[str, int | None, float | None],
    market: str = "US",
    version: int = 1,
    overviews: str = "known",
    rule: str = "exclude",
) -> pl.DataFrame:
    """Company, rank, DSI; of organic desktop."""
    names = {"company": pl.String, "rank": pl.Int64, "dsi": pl.Float64}
    return pl.DataFrame(rows, names, orient="row").with_columns(
        content_type=pl.lit("organic"),
        market=pl.lit(market),
        device=pl.lit("desktop"),
        curve=pl.lit("classic"),
        curve_version=pl.lit(version),
        ai_overview_factor=pl.lit(0.5),
        ai_overviews=pl.lit(overviews),
        unknown_volume=pl.lit(rule),
    )


US = pl.DataFrame({"content_type": ["organic"], "market": ["US"], "device": ["desktop"]})
NONE = US.clear()


def _by_company(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["company"]: row for row in frame.to_dicts()}


def test_rises_and_falls() -> None:
    """A rise is positive in rank and in DSI. New and lost companies have no change."""
    before = _snapshot(("a.com", 3, 10.0), ("b.com", 1, 30.0), ("c.com", 2, 20.0))
    after = _snapshot(("a.com", 1, 35.5), ("b.com", 2, 30.0), ("d.com", 3, 1.0))
    out = changes(before, after, (US, US))
    rows = _by_company(out)
    assert out["company"].to_list() == ["a.com", "b.com", "c.com", "d.com"]
    assert out.schema == SCHEMA
    assert (rows["a.com"]["rank_change"], rows["a.com"]["dsi_change"]) == (2, 25.5)
    assert (rows["b.com"]["rank_change"], rows["b.com"]["dsi_change"]) == (-1, 0.0)
    assert [rows[f"{name}.com"]["status"] for name in "abcd"] == ["kept", "kept", "lost", "new"]
    assert rows["c.com"]["rank_change"] is rows["d.com"]["dsi_change"] is None


@pytest.mark.parametrize("empty_side", [0, 1])
def test_not_collected_is_neither_new_nor_lost(empty_side: int) -> None:
    """Companies are new or lost in a landscape without results, but not in an uncollected one."""
    full, empty = _snapshot(("a.com", 1, 10.0)), _snapshot()
    frames = (empty, full) if empty_side == 0 else (full, empty)
    seen = (NONE, US) if empty_side == 0 else (US, NONE)
    assert changes(*frames, seen)["status"].to_list() == ["not_collected"]
    expected = "new" if empty_side == 0 else "lost"
    assert changes(*frames, (US, US))["status"].to_list() == [expected]


def test_other_methods_are_not_compared() -> None:
    """Figures of different curve versions are listed without a change."""
    before = _snapshot(("a.com", 2, 10.0))
    row = changes(before, _snapshot(("a.com", 1, 90.0), version=2), (US, US)).to_dicts()[0]
    assert (row["comparable"], row["rank_change"], row["dsi_change"]) == (False, None, None)
    assert row["differs"] == "curve_version 1 and 2"
    assert (row["dsi_before"], row["dsi_after"]) == (10.0, 90.0)


@pytest.mark.parametrize(
    ("before", "after", "comparable"),
    [
        ("known", "known", True),
        ("unknown", "unknown", True),
        ("does not apply", "does not apply", True),
        ("unknown", "known", False),
        ("known", "partly", False),
        ("partly", "partly", False),
    ],
)
def test_a_run_that_asked_for_overviews_is_not_compared_with_one_that_did_not(
    before: str, after: str, *, comparable: bool
) -> None:
    """Figures are not comparable if only one snapshot knows AI Overviews."""
    sides = [_snapshot(("a.com", 1, 9.0), overviews=state) for state in (before, after)]
    row = changes(sides[0], sides[1], (US, US)).to_dicts()[0]
    assert row["comparable"] is comparable
    assert (row["dsi_change"] is not None) is comparable


def test_another_rule_for_unknown_volumes_is_not_compared() -> None:
    """An imputed volume would look like traffic that was won."""
    row = changes(
        _snapshot(("a.com", 1, 9.0)), _snapshot(("a.com", 1, 9.0), rule="impute"), (US, US)
    ).to_dicts()[0]
    assert (row["comparable"], row["differs"]) == (False, "unknown_volume exclude and impute")


def test_unknown_figures_have_no_change() -> None:
    """With an unknown DSI on either side there is no change."""
    row = changes(_snapshot(("a.com", None, None)), _snapshot(("a.com", 1, 5.0)), (US, US))
    assert row["status"].to_list() == ["kept"]
    assert row["dsi_change"].to_list() == row["rank_change"].to_list() == [None]


def test_two_figures_in_one_snapshot_are_refused() -> None:
    """Two dates in one snapshot are the caller's bug."""
    twice = _snapshot(("a.com", 1, 5.0), ("a.com", 2, 4.0))
    with pytest.raises(ValueError, match=r"'a\.com' has two figures"):
        changes(twice, _snapshot(), (US, US))
