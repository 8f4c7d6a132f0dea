"""CSV in UTF-8, with a header. Unknown values are empty cells; instants are ISO 8601 in UTC.

Text that a spreadsheet would run as a formula gets an apostrophe, as by
``core.escaping.spreadsheet_text``.
"""

from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

from serpline.core.escaping import FORMULA_START
from serpline.exports.layout import Layout, as_cells

if TYPE_CHECKING:
    import polars as pl


def write_csv(frames: Iterable["pl.DataFrame"], target: IO[bytes], layout: Layout) -> int:
    """Write frames as CSV."""
    count, is_first = 0, True
    for frame in frames:
        _without_formulas(as_cells(frame)).write_csv(
            target,
            include_header=is_first,
            include_bom=is_first and layout.byte_order_mark,
            separator=";" if layout.decimal_comma else ",",
            decimal_comma=layout.decimal_comma,
            datetime_format="%Y-%m-%dT%H:%M:%S%.fZ",
        )
        count, is_first = count + frame.height, False
    return count


def _without_formulas(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Put an apostrophe before each text that a spreadsheet might run, also after a semicolon."""
    import polars as pl

    # The engine's expressions cannot look behind or ahead, so the parts are put back.
    return frame.with_columns(
        pl.col(pl.String).str.replace_all(f"(^|;)({FORMULA_START})", "${1}'${2}")
    )
