"""Write rows of a table from the database to a file, in one snapshot and a bounded memory."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import IO, Final

from serpline.core.new_file import NewFile
from serpline.domain.errors import UserError
from serpline.domain.results import Row, columns_of
from serpline.exports.csv_file import write_csv
from serpline.exports.json_file import write_json
from serpline.exports.layout import Format, Layout, Writer
from serpline.exports.parquet_file import write_parquet
from serpline.exports.portions import write_in_thread
from serpline.exports.xlsx_file import ROWS_MAX, check_row_count, write_xlsx
from serpline.store.database import Connection
from serpline.store.results import reading
from serpline.store.results.selection import Selection

_WRITERS: Final[Mapping[Format, Writer]] = {
    Format.CSV: write_csv,
    Format.XLSX: write_xlsx,
    Format.JSON: write_json,
    Format.PARQUET: write_parquet,
}


async def write_table(
    conn: Connection,
    row: type[Row],
    selection: Selection,
    target: IO[bytes],
    form: Format,
    *,
    decimal_comma: bool = False,
    byte_order_mark: bool = False,
) -> int:
    """Write the selected rows in their usual order; returns their number.

    Raises ``UserError`` if a sheet cannot hold them, before it writes.
    """
    if form is Format.XLSX:
        check_row_count(await reading.count(conn, row, selection, at_most=ROWS_MAX + 1))
    layout = Layout(
        row.VIEW,
        about=_about(selection),
        columns={each.name: each.column.comment for each in columns_of(row)},
        documents=[each.name for each in columns_of(row) if each.type is list],
        decimal_comma=decimal_comma,
        byte_order_mark=byte_order_mark,
    )
    # A sheet is put together after the last row has come.
    await reading.allow_idle(conn)
    frames = reading.frames(conn, row, selection, order=row.ORDER)
    write = _WRITERS[form]
    return await write_in_thread(frames, lambda found: write(found, target, layout))


async def write_file(
    conn: Connection,
    row: type[Row],
    selection: Selection,
    path: Path,
    form: Format,
    *,
    overwrite: bool = False,
    decimal_comma: bool = False,
) -> int:
    """Write a file, completely or not at all; returns the number of rows.

    A CSV begins with a byte order mark. Raises ``UserError`` if the file exists (unless
    ``overwrite``) or cannot be written, and as ``write_table`` does.
    """
    try:
        new = NewFile(path, overwrite=overwrite)
        try:
            count = await write_table(
                conn,
                row,
                selection,
                new.file,
                form,
                decimal_comma=decimal_comma,
                byte_order_mark=True,
            )
            new.commit()
        finally:
            new.abort()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    return count


def _about(selection: Selection) -> dict[str, str]:
    """The release and the filters, as texts."""
    found = {"serpline": version("serpline")}
    for name in selection.__dataclass_fields__:
        value = getattr(selection, name)
        if isinstance(value, tuple):
            value = ", ".join(map(str, value)) or None
        if value is not None:
            found[name] = str(value)
    return found
