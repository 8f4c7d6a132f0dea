"""``serpline dsi show|export|inputs``: the Digital Share Index and its components."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from serpline.cli import compare, figures
from serpline.cli.common import RunOption, file_error, print_message, print_spool, run, services
from serpline.cli.export import (
    DecimalCommaOption,
    FormatOption,
    OutputOption,
    OverwriteOption,
    export_table,
)
from serpline.cli.runs import find_run
from serpline.cli.selecting import FilterOptions, filtered
from serpline.core.spool import Spool
from serpline.exports.tables import table_named

app = typer.Typer(help="Digital Share Index (DSI), 0 to 100, per company.", no_args_is_help=True)
app.command("show")(figures.show)
app.command("compare")(compare.compare)


@app.command("export")
@filtered
def export(
    ctx: typer.Context,
    format_: FormatOption = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    decimal_comma: DecimalCommaOption = False,
    *,
    filters: FilterOptions,
) -> None:
    """Export every figure with every component: 'serpline export dsi'."""
    export_table(
        ctx,
        table_named("dsi"),
        replace(filters.read(), run=filters.run),
        format_,
        output,
        overwrite=overwrite,
        decimal_comma=decimal_comma,
    )


@app.command()
def inputs(
    ctx: typer.Context,
    run_id: RunOption = None,
    output: Annotated[Path | None, typer.Option(help="Output file; default: stdout.")] = None,
) -> None:
    """Export the inputs of the figures as JSON Lines, to compute the figures again.

    An independent script does that: python -m serpline.recompute_dsi FILE --company example.com
    """

    spool = Spool()

    async def write() -> int:
        from serpline.pipeline.dsi_inputs import write_lines

        async with services(ctx) as opened:
            found = await find_run(opened, run_id, scored=True)
            async with opened.database.transaction() as conn:
                return await write_lines(conn, found, spool.write)

    written = run(write())
    _write_output(spool, output)
    if output is not None:
        print_message(f"{output}: {written} records")


def _write_output(spool: Spool, output: Path | None) -> None:
    """Write a spool to a file or to stdout."""
    if output is None:
        print_spool(spool)
        return
    try:
        with output.open("wb") as stream:
            shutil.copyfileobj(spool.open(), stream)
    except OSError as error:
        raise file_error(output, error) from None
