"""What figures say of what they lack."""

from collections.abc import Collection
from typing import Any

import polars as pl
import pytest

from serpline.analysis.completeness import COMPLETE, together
from serpline.analysis.dsi import compute_dsi
from serpline.analysis.traffic import TrafficConfig
from serpline.domain.phase_inputs import Component

_FIRST = {"content_type": "organic", "market": "US", "device": "desktop", "keyword_id": 1}
_FIRST |= {"url": "https://a.com/", "company": "a.com", "position": 1, "volume": 100}
_FIRST |= {"ai_overview": False, "relevance": 0.5, "owner_known": None}
_SECOND = _FIRST | {"url": "https://b.com/", "company": "b.com", "position": 2}


def _of_first(
    *more: dict[str, Any], unfinished: Collection[Component] = (), **changes: Any
) -> dict[str, Any]:
    """The figure of the company whose only result is ``_FIRST`` with changes."""
    rows = [_FIRST | changes, *more]
    types = {"volume": pl.Int64, "relevance": pl.Float64, "owner_known": pl.Boolean}
    frame = pl.DataFrame(rows, schema_overrides=types)
    pages = frame.select("market", "device", "keyword_id").unique()
    figures = compute_dsi(frame, pages, TrafficConfig(curve="serpvoyager"), unfinished)
    return figures.filter(pl.col("company") == "a.com").row(0, named=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, COMPLETE),
        ({"volume": None}, "partial: volumes"),
        ({"relevance": None}, "partial: relevance"),
        ({"volume": None, "relevance": None}, "partial: volumes, relevance"),
        ({"volume": 0}, "partial: traffic"),
        ({"position": 500}, "partial: traffic"),
        ({"position": 500, "volume": None}, "partial: volumes"),
        ({"owner_known": False}, "partial: owners"),
        ({"owner_known": True}, COMPLETE),
    ],
)
def test_a_figure_names_what_is_unknown(changes: dict[str, Any], expected: str) -> None:
    """Exactly the components that are unknown are named, and only then is the DSI unknown."""
    row = _of_first(**changes)
    assert row["completeness"] == expected
    assert (row["dsi"] is None) is (expected not in (COMPLETE, "partial: owners"))


def test_what_few_results_lack_is_counted_and_not_named() -> None:
    """One video of two without an owner, one keyword of two without a volume: the rest counts."""
    other = _FIRST | {"keyword_id": 2, "owner_known": True, "volume": None}
    row = _of_first(other, owner_known=False)
    assert row["completeness"] == COMPLETE
    assert (row["youtube_results"], row["unowned_results"]) == (2, 1)


@pytest.mark.parametrize("component", Component)
def test_a_component_whose_phase_did_not_complete_is_named(component: Component) -> None:
    """Some of it came, and the figure rests on that. Owners are named only if some are missing."""
    other = _FIRST | {"keyword_id": 2, "owner_known": True}
    row = _of_first(other, owner_known=False, unfinished=[component])
    assert row["completeness"] == f"partial: {component}"
    complete = COMPLETE if component is Component.OWNERS else f"partial: {component}"
    assert _of_first(unfinished=[component])["completeness"] == complete


def test_the_unweighted_share_needs_no_volumes() -> None:
    """It equals the traffic share where all volumes are equal, and is there without any."""
    known = _of_first(_SECOND)
    unknown = _of_first(_SECOND | {"volume": None}, volume=None)
    assert known["share_unweighted"] == known["traffic_share"] == unknown["share_unweighted"]
    assert unknown["traffic_share"] is None
    assert _of_first(position=500)["share_unweighted"] is None


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ([COMPLETE, COMPLETE], COMPLETE),
        ([COMPLETE, "partial: relevance"], "partial: relevance"),
        (["partial: relevance", "partial: volumes, owners"], "partial: volumes, owners, relevance"),
    ],
)
def test_a_combined_figure_lacks_what_its_types_lack(types: list[str], expected: str) -> None:
    """In the order of the components."""
    assert together(types) == expected
