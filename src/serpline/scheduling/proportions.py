"""Test whether two proportions differ, for many tables and repeated looks at growing data. Pure.

- ``greater``: Fisher's exact test, one-sided (R. A. Fisher, "On the interpretation of χ² from
  contingency tables, and the calculation of P", J. R. Stat. Soc. 85, 1922). With the margins
  fixed, the number of bad units in the first group is hypergeometric.
- ``number_of_tests``: Bonferroni's correction without the tables that could not be significant
  whatever happened (R. E. Tarone, "A modified Bonferroni method for discrete data", Biometrics 46,
  1990).
- ``level_of_look``: look k (from 1) may use α/(k(k + 1)). These sum to α over all looks, so by
  Boole's inequality any number of looks errs with probability α at most. (A spending of α over
  looks: K. K. G. Lan and D. L. DeMets, "Discrete sequential boundaries for clinical trials",
  Biometrika 70, 1983.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb


@dataclass(frozen=True, slots=True)
class Counts:
    """``bad`` of ``total`` units."""

    bad: int
    total: int

    @property
    def share(self) -> float:
        """The proportion; 0 of none."""
        return self.bad / self.total if self.total else 0.0


def greater(ours: Counts, others: Counts) -> float:
    """The probability of at least ``ours.bad`` if both groups had the same proportion."""
    bad, total = ours.bad + others.bad, ours.total + others.total
    most = min(bad, ours.total)
    ways = sum(
        comb(bad, count) * comb(total - bad, ours.total - count)
        for count in range(ours.bad, most + 1)
    )
    return ways / comb(total, ours.total)


def least(ours: Counts, others: Counts) -> float:
    """The smallest value that ``greater`` can take with these margins."""
    bad, total = ours.bad + others.bad, ours.total + others.total
    most = min(bad, ours.total)
    return comb(bad, most) * comb(total - bad, ours.total - most) / comb(total, ours.total)


def number_of_tests(least_values: Sequence[float], level: float) -> int:
    """The smallest m such that at most m tests could be significant at ``level / m``; at least 1.

    ``least_values``: the smallest p-value that each test can take.
    """
    counted = 1
    while sum(value <= level / counted for value in least_values) > counted:
        counted += 1
    return counted


def level_of_look(alpha: float, look: int) -> float:
    """The level of significance of the ``look``-th look at the growing data."""
    return alpha / (look * (look + 1))
