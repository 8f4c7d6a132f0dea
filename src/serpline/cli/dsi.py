"""``serpline dsi show|export|inputs``: the Digital Share Index and its components."""

import shutil
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from serpline.cli import compare, figures
from serpline.cli.common import (
    RunOption,
    file_error,
    print_message,
    print_spool,
    run,
    services,
)
from serpline.cli.dsi_formats import WRITERS, Format, Writer
from serpline.cli.runs import find_run
from serpline.core.spool import Spool
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType

app = typer.Typer(help="Digital Share Index (DSI), 0 to 100, per company.", no_args_is_help=True)
app.command("show")(figures.show)
app.command("compare")(compare.compare)

TypeOption = Annotated[
    ContentType | None, typer.Option(help="Only this content type; all: combined.")
]
MarketOption = Annotated[str | None, typer.Option(help="Only this market: its code.")]


@asynccontextmanager
async def _rows(
    ctx: typer.Context,
    given: str | None,
    content_type: ContentType | None,
    market: str | None,
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Stream a run's figures, the highest first."""
    from serpline.pipeline.report import dsi_rows
    from serpline.store.results import scores

    code = None
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(services(ctx))
        found = await find_run(opened, given, scored=True)
        conn = await stack.enter_async_context(opened.database.transaction())
        if market is not None:
            code = require_market(market, await scores.scored_markets(conn, found), found)
        reading = dsi_rows(conn, found, content_type=content_type, market=code)
        rows = await stack.enter_async_context(aclosing(reading))
        yield ({"run_id": found, **row} async for row in rows)


def require_market(given: str, known: Collection[str], run_id: UUID) -> str:
    """Return the market's code. Raises ``UserError`` if the run has no figures for it."""
    from serpline.domain.markets import normal_code

    code = normal_code(given)
    if known and code not in known:
        shown = ", ".join(sorted(known))
        raise UserError(f"market {given!r}: run {run_id} has no figures for it; it has {shown}")
    return code


def _spool_figures(
    write: Writer,
    ctx: typer.Context,
    run_id: str | None,
    content_type: ContentType | None,
    market: str | None,
) -> tuple[Spool, int]:
    """Write all figures of a run into a spool; return it and their number."""
    spool = Spool()

    async def written() -> int:
        async with _rows(ctx, run_id, content_type, market) as rows:
            return await write(rows, spool)

    return spool, run(written())


@app.command()
def export(
    ctx: typer.Context,
    run_id: RunOption = None,
    content_type: TypeOption = None,
    market: MarketOption = None,
    format_: Annotated[Format, typer.Option("--format", help="csv, json or parquet.")] = Format.CSV,
    output: Annotated[Path | None, typer.Option(help="Output file; default: stdout.")] = None,
) -> None:
    """Export every figure with every component as CSV, JSON or Parquet.

    CSV puts an apostrophe before a text that a spreadsheet would run as a formula: one that begins
    with =, +, -, @, a tab or a line end, or with apostrophes before one of these, also after a
    semicolon. Remove one apostrophe to get the text back. JSON and Parquet keep every text
    unchanged.
    """
    if format_ is Format.PARQUET and output is None and sys.stdout.isatty():
        raise UserError("--format parquet is binary: give a file with --output")
    spool, count = _spool_figures(WRITERS[format_], ctx, run_id, content_type, market)
    _write_output(spool, output)
    if output is not None:
        print_message(f"{output}: {count} figures")


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
