"""CTR curves."""

import polars as pl
import pytest

from serpline.analysis.ctr import CURVES, DEFAULT_CURVE, beyond, ctr, ctr_column, get_curve
from serpline.domain.errors import UserError


@pytest.mark.parametrize(
    ("name", "position", "fraction"),
    [
        ("classic", 1, 0.2823),
        ("classic", 10, 0.0214),
        ("classic", 11, 0.015),
        ("classic", 20, 0.015),
        ("classic", 21, 0.008),
        ("classic", 30, 0.008),
        ("classic", 31, 0.005),
        ("classic", 400, 0.005),
        ("serpvoyager", 2, 0.247),
        ("serpvoyager", 11, 0.0),
        ("seoclarity_grid", 10, 0.022),
        ("seoclarity_2021_desktop", 1, 0.0817),
        ("seoclarity_2021_mobile", 3, 0.025),
    ],
)
def test_published_figures(name: str, position: int, fraction: float) -> None:
    """A curve gives its publisher's figure as a fraction."""
    assert ctr(get_curve(name), position) == pytest.approx(fraction, abs=1e-15)


@pytest.mark.parametrize("name", sorted(CURVES))
def test_a_column_gives_the_same_floats(name: str) -> None:
    """The vectorised form equals the plain one bit for bit, at every position to 60."""
    curve = get_curve(name)
    frame = pl.DataFrame({"position": range(1, 61)})
    assert frame.select(ctr_column(curve)).to_series().to_list() == [
        ctr(curve, position) for position in range(1, 61)
    ]


@pytest.mark.parametrize("name", sorted(CURVES))
def test_a_curve_is_a_distribution_of_clicks(name: str) -> None:
    """Every curve has ten positions, the first is the largest, and ten take at most 100 percent.

    SERPVoyager's figures add up to more and stay as published.
    """
    curve = get_curve(name)
    assert len(curve.percents) == 10
    assert max(curve.percents) == curve.percents[0]
    total = sum(curve.percents)
    assert total <= (115.6 if name == "serpvoyager" else 100)


def test_positions_beyond_the_curve_are_found() -> None:
    """Positions without a published value can be counted. The classic curve has all values."""
    frame = pl.DataFrame({"position": [1, 10, 11, 99]})
    silent = frame.select(
        a=beyond(get_curve("classic")), b=beyond(get_curve("seoclarity_grid"))
    ).to_dict(as_series=False)
    assert silent == {"a": [False] * 4, "b": [False, False, True, True]}


def test_the_default_is_the_classic_curve() -> None:
    """The default is classic, version 1."""
    assert (DEFAULT_CURVE, get_curve(DEFAULT_CURVE).version) == ("classic", 1)


def test_wrong_names_and_positions_are_refused() -> None:
    """An unknown curve is a UserError that names it; a position below 1 is a bug."""
    with pytest.raises(UserError, match=r"'nope'.*classic"):
        get_curve("nope")
    with pytest.raises(ValueError, match="position 0"):
        ctr(get_curve("classic"), 0)
