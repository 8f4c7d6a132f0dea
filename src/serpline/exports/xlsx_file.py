"""XLSX: a sheet with the rows, and a sheet that describes the file and its columns.

Text is always a text cell, so no formula runs. Excel has no time zones: instants are in UTC.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any, Final

from serpline.core.spool import disk_directory
from serpline.domain.errors import UserError
from serpline.exports.layout import Layout, as_cells

if TYPE_CHECKING:
    import polars as pl
    from xlsxwriter.format import Format as CellFormat
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

# Excel's own limits ("Excel specifications and limits", Microsoft).
SHEET_ROWS_MAX: Final = 1_048_576
ROWS_MAX: Final = SHEET_ROWS_MAX - 1  # without the header
CELL_CHARACTERS_MAX: Final = 32_767

# What the library returns for a text that it cut.
_CUT: Final = -2
_WIDTH: Final = 18
_ABOUT_WIDTHS: Final = (32, 100)

_Write = Callable[[int, int, Any], Any]


def check_row_count(rows: int) -> None:
    """Raise ``UserError`` if a sheet cannot hold so many rows."""
    if rows > ROWS_MAX:
        raise UserError(
            f"--format xlsx: {rows:,} rows, and an Excel sheet holds {ROWS_MAX:,}:"
            " take csv or parquet, or fewer rows by a filter"
        )


def write_xlsx(frames: Iterable["pl.DataFrame"], target: IO[bytes], layout: Layout) -> int:
    """Write frames as a sheet. Too long texts are cut; the sheet ``about`` says how many.

    Raises ``UserError`` where ``check_row_count`` does.
    """
    from xlsxwriter import Workbook

    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "tmpdir": disk_directory(),
        "default_date_format": "yyyy-mm-dd",
    }
    with Workbook(target, options) as book:
        book.use_zip64()
        bold = book.add_format({"bold": True})
        sheet = book.add_worksheet(layout.table)
        count = cut = 0
        writers: list[_Write] = []
        for frame in map(as_cells, frames):
            if not writers:
                writers = _begin(book, sheet, frame, bold)
            check_row_count(count + frame.height)
            for row in frame.iter_rows():
                count += 1
                for column, value in enumerate(row):
                    if value is not None:
                        cut += writers[column](count, column, value) == _CUT
        if count:
            sheet.autofilter(0, 0, count, len(writers) - 1)
        facts = {"table": layout.table, **layout.about}
        if cut:
            facts["cut"] = f"{cut} texts after {CELL_CHARACTERS_MAX:,} characters, Excel's limit"
        _describe(book.add_worksheet("about"), facts, layout, bold)
    return count


def _begin(
    book: "Workbook", sheet: "Worksheet", frame: "pl.DataFrame", bold: "CellFormat"
) -> list[_Write]:
    """Write the header; returns how to write a cell of each column."""
    for column, name in enumerate(frame.columns):
        sheet.write_string(0, column, name, bold)
    sheet.freeze_panes(1, 0)
    sheet.set_column(0, max(frame.width - 1, 0), _WIDTH)
    return [_writer_of(book, sheet, kind) for kind in frame.dtypes]


def _writer_of(book: "Workbook", sheet: "Worksheet", kind: "pl.DataType") -> _Write:
    import polars as pl

    if isinstance(kind, pl.Datetime):
        instant = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        return lambda row, column, value: sheet.write_datetime(
            row, column, value.replace(tzinfo=None), instant
        )
    write: _Write = sheet.write_number if kind.is_numeric() else sheet.write_string
    if isinstance(kind, pl.Date):
        write = sheet.write_datetime
    if isinstance(kind, pl.Boolean):
        write = sheet.write_boolean
    return write


def _describe(
    sheet: "Worksheet", facts: Mapping[str, str], layout: Layout, bold: "CellFormat"
) -> None:
    """Write the facts about the file, and the columns with their descriptions."""
    for column, width in enumerate(_ABOUT_WIDTHS):
        sheet.set_column(column, column, width)
    for row, (name, value) in enumerate(facts.items()):
        sheet.write_string(row, 0, name)
        sheet.write_string(row, 1, value)
    header = len(facts) + 1
    sheet.write_string(header, 0, "column", bold)
    sheet.write_string(header, 1, "description", bold)
    for row, (name, text) in enumerate(layout.columns.items(), start=header + 1):
        sheet.write_string(row, 0, name)
        sheet.write_string(row, 1, text)
