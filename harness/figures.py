"""A measured value beside its bound, for the scorecard and the benchmarks."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass

_RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "≤": operator.le,
    "≥": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value beside its bound. ``relation`` is one of ``=``, ``≤``, ``≥``."""

    name: str
    value: float
    relation: str
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the value keeps to its bound."""
        return _RELATIONS[self.relation](self.value, self.bound)

    @property
    def measured(self) -> bool:
        """False where this machine did not allow it."""
        return not math.isnan(self.value)

    def __str__(self) -> str:
        if not self.measured:
            return f"{self.name}: not measured here"
        return f"{self.name} {self.value:,.6g} ({self.relation} {self.bound:,.6g})"


def zero(name: str, value: float) -> Figure:
    """There must be none of it."""
    return Figure(name, value, "=", 0)


def equal(name: str, value: float, bound: float) -> Figure:
    """It must be exactly so much."""
    return Figure(name, value, "=", bound)


def at_most(name: str, value: float, bound: float) -> Figure:
    """It may be so much and no more."""
    return Figure(name, value, "≤", bound)


def at_least(name: str, value: float, bound: float) -> Figure:
    """It must be so much or more."""
    return Figure(name, value, "≥", bound)


def not_measured(name: str) -> Figure:
    """What cannot be measured on this machine: it does not pass."""
    return Figure(name, math.nan, "=", 0)
