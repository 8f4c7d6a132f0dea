"""Estimated traffic: the exact sums that all figures use."""

import math

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from serpline.analysis.traffic import exact_sums, rounded


def test_a_sum_that_cancels_is_exact() -> None:
    """Sums keep what plain addition loses between large numbers."""
    frame = pl.DataFrame({"key": ["a"] * 3, "value": [1e16, 1.0, -1e16]})
    assert exact_sums(frame, ["key"], "value").row(0) == ("a", 1.0)


def test_unknown_is_not_nought() -> None:
    """Nulls are left out of a sum. A sum of nulls only is null."""
    frame = pl.DataFrame({"key": ["a", "a", "b"], "value": [None, 2.0, None]})
    assert dict(exact_sums(frame, ["key"], "value").iter_rows()) == {"a": 2.0, "b": None}


@given(st.data(), st.lists(st.floats(0, 1e12), min_size=1, max_size=50))
def test_sums_do_not_depend_on_order(data: st.DataObject, values: list[float]) -> None:
    """Any order of the rows gives the same bits."""
    shuffled = data.draw(st.permutations(values))
    frames = [pl.DataFrame({"key": ["a"] * len(v), "value": v}) for v in (values, shuffled)]
    first, second = (exact_sums(frame, ["key"], "value")["value"].item() for frame in frames)
    assert first == second == math.fsum(values)


def test_twelve_digits_are_kept() -> None:
    """Stored fractions have twelve significant digits, however small they are."""
    assert rounded(1 / 3) == 0.333333333333
    assert rounded(2e-9 / 3) == 6.66666666667e-10
    assert rounded(0.0) == 0.0
