"""``serpline export``: every table of results as a file."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Annotated

import typer

from serpline.cli.common import file_error, print_message, read_name, run, services
from serpline.cli.selecting import FilterOptions, filtered
from serpline.cli.tables import ID_CHARACTERS
from serpline.core.spool import disk_directory
from serpline.domain.errors import UserError
from serpline.exports.layout import BINARY, Format, format_of
from serpline.exports.tables import NAMES, table_named

if TYPE_CHECKING:
    from serpline.domain.results import Row
    from serpline.pipeline.filters import Filters
    from serpline.store.results.selection import Selection

FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="Default: by the end of the file's name, else csv."),
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="The file to write; default: stdout.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
DecimalCommaOption = Annotated[
    bool,
    typer.Option(
        "--decimal-comma",
        help="CSV with decimal commas and semicolons, for Excel where people write 0,5.",
    ),
]


@filtered
def export(
    ctx: typer.Context,
    table: Annotated[str, typer.Argument(help=f"One of: {', '.join(NAMES)}.")],
    format_: FormatOption = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    decimal_comma: DecimalCommaOption = False,
    keyword: Annotated[
        str | None, typer.Option(callback=read_name, help="Only this keyword.")
    ] = None,
    *,
    filters: FilterOptions,
) -> None:
    """Export a table of results as CSV, XLSX, JSON or Parquet.

    Without --run: rankings, serps, dsi and share-of-voice of the latest run with results for what
    is asked, or of all runs from --since to --until; other tables whole. --run all: of all runs.

    CSV puts an apostrophe before a text that a spreadsheet would run as a formula: one that begins
    with =, +, -, @, a tab or a line end, or with apostrophes before one of these, also after a
    semicolon. Remove one apostrophe to get the text back. The other formats keep every text
    unchanged.
    """
    asked = replace(filters.read(keyword=keyword), run=filters.run)
    export_table(
        ctx,
        table_named(table),
        asked,
        format_,
        output,
        overwrite=overwrite,
        decimal_comma=decimal_comma,
    )


def export_table(
    ctx: typer.Context,
    row: "type[Row]",
    asked: "Filters",
    given: Format | None,
    output: Path | None,
    *,
    overwrite: bool,
    decimal_comma: bool,
) -> None:
    """Write a table to a file or to stdout, and say on stderr what a file has."""
    form = given or (Format.CSV if output is None else format_of(output))
    if decimal_comma and form is not Format.CSV:
        raise UserError(f"--decimal-comma is for csv, not for {form}")
    if form in BINARY and output is None and sys.stdout.isatty():
        raise UserError(f"--format {form} is binary: give a file with --output")

    async def write(target: IO[bytes] | None) -> "tuple[int, Selection]":
        from serpline.exports.writing import write_file, write_table
        from serpline.pipeline.filters import select

        async with services(ctx) as opened, opened.database.transaction() as conn:
            selection = await select(conn, row, asked)
            if target is not None:
                found = await write_table(
                    conn, row, selection, target, form, decimal_comma=decimal_comma
                )
            else:
                assert output is not None
                found = await write_file(
                    conn,
                    row,
                    selection,
                    output,
                    form,
                    overwrite=overwrite,
                    decimal_comma=decimal_comma,
                )
        return found, selection

    if output is None or _is_stream(output):
        # Complete before the first byte is printed, and without a transaction while a pipe waits.
        with TemporaryFile(dir=disk_directory()) as whole:
            count, selection = run(write(whole))
            whole.seek(0)
            _copy(whole, output)
    else:
        count, selection = run(write(None))
    if output is not None:
        of_run = f", run {str(selection.run_id)[:ID_CHARACTERS]}" if selection.run_id else ""
        print_message(f"{output}: {count:,} rows of {row.VIEW.replace('_', '-')}{of_run}")


def _is_stream(path: Path) -> bool:
    """Whether a path is a pipe or a device, beside which no file is written."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _copy(whole: IO[bytes], output: Path | None) -> None:
    if output is None:
        sys.stdout.flush()
        shutil.copyfileobj(whole, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    try:
        with output.open("wb") as stream:
            shutil.copyfileobj(whole, stream)
    except OSError as error:
        raise file_error(output, error) from None
