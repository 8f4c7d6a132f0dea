"""Click-through-rate curves: the share of a keyword's searches that click on a position.

Curves are named and versioned data. Published curves differ by a factor of five, so every figure
stores its curve's name and version. A change of any number needs a new version.

Sources: SERPVoyager's production curve; seoClarity's research grid and its 2021 desktop and mobile
studies; and the classic curve, which is most often reused for share of voice. Only the classic
curve has values beyond position ten. The others give 0 there, and ``beyond`` finds these positions
so that callers can count them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from serpline.domain.errors import UserError

DEFAULT_CURVE = "classic"


@dataclass(frozen=True, slots=True)
class CtrCurve:
    """A curve. ``percents``: the published values of positions 1, 2, …, in percent.

    ``tail``: the following bands in order, as (last position, percent). ``rest_percent``: the value
    of every later position, None if none was published.
    """

    name: str
    version: int
    publisher: str
    percents: tuple[float, ...]
    tail: tuple[tuple[int, float], ...] = ()
    rest_percent: float | None = None

    @property
    def published_positions(self) -> int | None:
        """The last position with a published value, or None if every position has one."""
        if self.rest_percent is not None:
            return None
        return self.tail[-1][0] if self.tail else len(self.percents)


_CURVES = (
    CtrCurve(
        name="classic",
        version=1,
        publisher="widely reused, original publisher not stated",
        percents=(28.23, 15.72, 10.73, 7.75, 5.88, 4.59, 3.69, 3.02, 2.52, 2.14),
        tail=((20, 1.5), (30, 0.8)),
        rest_percent=0.5,
    ),
    CtrCurve(
        name="serpvoyager",
        version=1,
        publisher="SERPVoyager, production",
        percents=(31.7, 24.7, 18.7, 13.6, 9.5, 6.2, 4.2, 3.1, 2.2, 1.6),
    ),
    CtrCurve(
        name="seoclarity_grid",
        version=1,
        publisher="seoClarity, research grid",
        percents=(19.3, 11.4, 7.7, 5.2, 4.1, 3.3, 2.6, 2.1, 2.0, 2.2),
    ),
    CtrCurve(
        name="seoclarity_2021_desktop",
        version=1,
        publisher="seoClarity, 2021, desktop",
        percents=(8.17, 3.82, 2.43, 1.63, 1.11, 0.84, 0.67, 0.54, 0.52, 0.44),
    ),
    CtrCurve(
        name="seoclarity_2021_mobile",
        version=1,
        publisher="seoClarity, 2021, mobile",
        percents=(6.74, 3.41, 2.50, 1.71, 1.18, 0.89, 0.75, 0.64, 0.55, 0.48),
    ),
)
CURVES: Mapping[str, CtrCurve] = MappingProxyType({curve.name: curve for curve in _CURVES})


def get_curve(name: str) -> CtrCurve:
    """The curve of that name. Raises a ``UserError`` that lists the known names."""
    if name not in CURVES:
        raise UserError(f"unknown CTR curve {name!r}: known are {', '.join(sorted(CURVES))}")
    return CURVES[name]


def ctr(curve: CtrCurve, position: int) -> float:
    """The fraction (0 to 1) of searches that click on ``position``, counted from 1."""
    if position < 1:
        raise ValueError(f"position {position} is below 1")
    if position <= len(curve.percents):
        return curve.percents[position - 1] / 100
    for last, percent in curve.tail:
        if position <= last:
            return percent / 100
    return (curve.rest_percent or 0.0) / 100


def ctr_column(curve: CtrCurve, position: str = "position") -> pl.Expr:
    """``ctr`` over an integer column, as Float64, with exactly the values of ``ctr``."""
    last = curve.tail[-1][0] if curve.tail else len(curve.percents)
    known = list(range(1, last + 1))
    return pl.col(position).replace_strict(
        known,
        [ctr(curve, number) for number in known],
        default=ctr(curve, last + 1),
        return_dtype=pl.Float64,
    )


def beyond(curve: CtrCurve, position: str = "position") -> pl.Expr:
    """Whether an integer column's position has no published value."""
    last = curve.published_positions
    return pl.lit(False) if last is None else pl.col(position) > last
