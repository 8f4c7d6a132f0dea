"""The tables that can be exported, by the names of their views with dashes."""

from typing import TYPE_CHECKING, Final

from serpline.domain.errors import UserError

if TYPE_CHECKING:
    from serpline.domain.results import Row

# Not made of the classes: they take 15 ms of every command to load. A test compares them.
NAMES: Final = (
    "rankings",
    "serps",
    "dsi",
    "share-of-voice",
    "keywords",
    "companies",
    "runs",
    "slots",
    "spend",
)


def table_named(given: str) -> "type[Row]":
    """Return the row class of a table. Raises ``UserError`` for an unknown name."""
    from serpline.domain.results import ROWS

    name = given.strip().lower().replace("-", "_")
    for row in ROWS:
        if name == row.VIEW:
            return row
    raise UserError(f"table {given!r}: must be one of {', '.join(NAMES)}")
