"""The tables that can be exported, by the names of their views with dashes."""

from collections.abc import Mapping
from typing import Final

from serpline.domain.errors import UserError
from serpline.domain.results import ROWS, Row

TABLES: Final[Mapping[str, type[Row]]] = {row.VIEW.replace("_", "-"): row for row in ROWS}


def table_named(given: str) -> type[Row]:
    """Return the row class of a table. Raises ``UserError`` for an unknown name."""
    name = given.strip().lower().replace("_", "-")
    if name not in TABLES:
        raise UserError(f"table {given!r}: must be one of {', '.join(TABLES)}")
    return TABLES[name]
