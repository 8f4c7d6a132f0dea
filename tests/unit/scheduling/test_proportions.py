"""Fisher's exact test, and its corrections for many tables and repeated looks."""

from itertools import combinations
from math import comb

import pytest

from serpline.scheduling.proportions import (
    Counts,
    greater,
    least,
    level_of_look,
    number_of_tests,
)


def test_the_tea_tasting_table() -> None:
    """Fisher's own example: three of four cups right of eight has p = 17/70."""
    assert greater(Counts(3, 4), Counts(1, 4)) == pytest.approx(17 / 70)


@pytest.mark.parametrize(("bad", "ours"), [(0, 3), (1, 3), (2, 3), (3, 3), (2, 5), (4, 4)])
def test_it_is_the_share_of_all_assignments(bad: int, ours: int) -> None:
    """Of all ways to choose our units from ten with four bad, count those at least as bad."""
    units = [True] * 4 + [False] * 6
    chosen = [sum(units[i] for i in group) for group in combinations(range(10), ours)]
    expected = sum(count >= bad for count in chosen) / len(chosen)
    assert greater(Counts(bad, ours), Counts(4 - bad, 10 - ours)) == pytest.approx(expected)


def test_the_least_value_has_every_bad_unit_in_our_group() -> None:
    """With the margins fixed, no split is less likely than all bad units among ours."""
    assert least(Counts(1, 3), Counts(2, 7)) == greater(Counts(3, 3), Counts(0, 7))
    assert least(Counts(0, 3), Counts(0, 7)) == 1
    assert least(Counts(5, 400), Counts(15, 800)) == comb(400, 20) / comb(1200, 20)


def test_tables_that_cannot_be_significant_are_not_counted() -> None:
    """Two hundred tables with one bad unit cost three others nothing."""
    assert number_of_tests([0.5] * 200 + [0.001] * 3, 0.05) == 3
    assert number_of_tests([0.5] * 200, 0.05) == 1
    assert number_of_tests([], 0.05) == 1
    assert number_of_tests([0.001] * 40, 0.05) == 40


def test_all_looks_together_spend_alpha() -> None:
    """The levels of any number of looks sum to less than alpha, and come close to it."""
    spent = [level_of_look(0.05, look) for look in range(1, 1000)]
    assert 0.0499 < sum(spent) < 0.05
    assert spent[0] == 0.025


def test_a_share_of_nothing_is_zero() -> None:
    """An empty group has no bad unit."""
    assert Counts(0, 0).share == 0
    assert Counts(1, 4).share == 0.25
