"""The description of a column, carried by the field of a row class."""

from dataclasses import dataclass, fields
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True)
class Column:
    """What a field means. ``unit``: of a number; None where it has none, as a count of rows."""

    description: str
    unit: str | None = None

    @property
    def comment(self) -> str:
        """Return description and unit as one text."""
        return f"{self.description} Unit: {self.unit}." if self.unit else self.description


class Row:
    """A row of a view.

    ``VIEW``: the view's name. ``DATED_BY``: the column that a range of dates filters; None: none.
    ``ORDER``: the usual order, as ``stream`` takes it. ``FOUND``: SQL that is true for a row with
    an answer; None: every row is one.
    """

    __slots__ = ()
    VIEW: ClassVar[str]
    DATED_BY: ClassVar[str | None] = "collected_on"
    ORDER: ClassVar[tuple[str, ...]] = ()
    FOUND: ClassVar[str | None] = None


@dataclass(frozen=True, slots=True)
class ColumnOf:
    """A field of a row class. ``type``: without None; ``tuple`` for a list of texts."""

    name: str
    type: type
    is_nullable: bool
    column: Column


def columns_of(row: type[Row]) -> tuple[ColumnOf, ...]:
    """Return the columns of a row class, in the order of its view."""
    hints = get_type_hints(row, include_extras=True)
    named = fields(row)  # type: ignore[arg-type]
    return tuple(_column(each.name, hints[each.name]) for each in named)


def _column(name: str, hint: Any) -> ColumnOf:
    assert get_origin(hint) is Annotated, name
    given, column = get_args(hint)
    kinds = get_args(given) if isinstance(given, UnionType) else (given,)
    known = [kind for kind in kinds if kind is not NoneType]
    assert len(known) == 1, name
    kind = get_origin(known[0]) or known[0]
    return ColumnOf(name, kind, NoneType in kinds, column)


# Columns that mean the same in every view.
RUN = Column("The run. See the view runs.")
COLLECTED_ON = Column(
    "The run's date for the content type: the day of its last search. The day on which the run was"
    " created where no search came.",
    "day, UTC",
)
CONTENT_TYPE = Column("organic, news or video.")
MARKET = Column("The market's code, such as US or CH-fr.")
DEVICE = Column("desktop, mobile or tablet.")
KEYWORD_ID = Column("The keyword. See the view keywords.")
KEYWORD = Column("The keyword as the run searched it.")
TAGS = Column("The tags that the keyword has in this market now.")
LANDSCAPE = Column("The landscape to which the run was limited. Null: all keywords.")
COMPANY = Column(
    "The company's key: its registrable domain. youtube.com/channel/ID for a channel without a"
    " known owner. Merged domains have the key of the company that they were merged into."
)
COMPANY_NAME = Column("The name that a person gave, or else the brand's. Null: not known.")
RELATION = Column("ours or competitor, as marked now. Null: not marked.")
VOLUME = Column(
    "How often people search the keyword in the market. Null: not known.", "searches per month"
)
VOLUME_UNKNOWN = Column("Why the volume is not known. Null: it is known, or was not asked for.")
LATE_FOR = Column(
    "The time of the schedule's slot that a late snapshot stands for. Null: not late.", "UTC"
)
