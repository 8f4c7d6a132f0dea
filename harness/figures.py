"""Measured values with their bounds, for the scorecard and the benchmarks."""

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
    """One measured value with its bound. ``relation`` is one of ``=``, ``≤``, ``≥``."""

    name: str
    value: float
    relation: str
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the value is within its bound."""
        return _RELATIONS[self.relation](self.value, self.bound)

    @property
    def measured(self) -> bool:
        """False if this machine could not measure it."""
        return not math.isnan(self.value)

    def __str__(self) -> str:
        if not self.measured:
            return f"{self.name}: not measured here"
        return f"{self.name} {self.value:,.6g} ({self.relation} {self.bound:,.6g})"


def zero(name: str, value: float) -> Figure:
    """A figure that must be 0."""
    return Figure(name, value, "=", 0)


def equal(name: str, value: float, bound: float) -> Figure:
    """A figure that must equal ``bound``."""
    return Figure(name, value, "=", bound)


def at_most(name: str, value: float, bound: float) -> Figure:
    """A figure that must not exceed ``bound``."""
    return Figure(name, value, "≤", bound)


def at_least(name: str, value: float, bound: float) -> Figure:
    """A figure that must reach ``bound``."""
    return Figure(name, value, "≥", bound)


def not_measured(name: str) -> Figure:
    """A figure that this machine cannot measure. It does not hold."""
    return Figure(name, math.nan, "=", 0)
