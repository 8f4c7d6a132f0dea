"""``serpline dsi show|export|inputs``: the Digital Share Index and its components."""

import shutil
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from serpline.cli.common import (
    JsonFlag,
    RunOption,
    file_error,
    print_message,
    print_spool,
    run,
    services,
    spool_list,
)
from serpline.cli.dsi_formats import WRITERS, Format, Writer, format_source
from serpline.cli.runs import find_run
from serpline.cli.tables import show_table
from serpline.core.spool import Spool
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType

app = typer.Typer(help="Digital Share Index (DSI), 0 to 100, per company.", no_args_is_help=True)

TypeOption = Annotated[
    ContentType | None, typer.Option(help="Only this content type; all: combined.")
]
MarketOption = Annotated[str | None, typer.Option(help="Only this market: its code.")]


class Metric(StrEnum):
    """Columns of ``dsi show``: the DSI, or the share of voice by three denominators."""

    DSI = "dsi"
    SOV = "sov"


# The share of results equals the DSI's traffic share.
_COLUMNS: Mapping[Metric, Mapping[str, str]] = {
    Metric.DSI: {
        name: name
        for name in (
            "dsi", "coverage", "collected", "traffic_share", "relevance", "relevance_basis",
            "curve", "sources",
        )
    },
    Metric.SOV: {
        "share_of_results": "traffic_share",
        "share_of_first": "share_of_first",
        "share_of_volume": "share_of_volume",
        "collected": "collected",
        "curve": "curve",
    },
}  # fmt: skip


@asynccontextmanager
async def _rows(
    ctx: typer.Context,
    given: str | None,
    content_type: ContentType | None,
    market: str | None,
    *,
    best: int | None = None,
    metric: Metric = Metric.DSI,
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Stream a run's figures, the highest first."""
    from serpline.pipeline.report import dsi_rows
    from serpline.store.results import scores

    code = None
    is_sov = metric is Metric.SOV
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(services(ctx))
        found = await find_run(opened, given, scored=True)
        conn = await stack.enter_async_context(opened.database.transaction())
        if market is not None:
            code = require_market(market, await scores.scored_markets(conn, found), found)
        reading = dsi_rows(
            conn,
            found,
            content_type=content_type,
            market=code,
            best=best,
            by="traffic_share" if is_sov else "dsi",
        )
        rows = await stack.enter_async_context(aclosing(reading))
        yield (
            {"run_id": found, **row}
            async for row in rows
            if not (is_sov and row["content_type"] == ContentType.ALL)
        )


def require_market(given: str, known: Collection[str], run_id: UUID) -> str:
    """Return the market's code. Raises ``UserError`` if the run has no figures for it."""
    from serpline.domain.markets import normal_code

    code = normal_code(given)
    if known and code not in known:
        shown = ", ".join(sorted(known))
        raise UserError(f"market {given!r}: run {run_id} has no figures for it; it has {shown}")
    return code


@app.command()
def show(
    ctx: typer.Context,
    run_id: RunOption = None,
    content_type: TypeOption = None,
    market: MarketOption = None,
    metric: Annotated[Metric, typer.Option(help="dsi, or sov (share of voice).")] = Metric.DSI,
    limit: Annotated[int, typer.Option(min=1, help="Companies per type, market and device.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Show the companies with the highest DSI per content type, market and device (--json: all).

    --metric sov shows the share of voice: of all results, of #1 everywhere, of all tracked volume.
    """
    if metric is Metric.SOV and content_type is ContentType.ALL:
        raise UserError("--content-type all has no share of voice: choose organic, news or video")
    if as_json:
        spool, _ = _spool_figures(spool_list, ctx, run_id, content_type, market, metric=metric)
        print_spool(spool)
        return

    async def read() -> list[dict[str, Any]]:
        given = (ctx, run_id, content_type, market)
        async with _rows(*given, best=limit, metric=metric) as rows:
            return [row async for row in rows]

    kept = run(read())
    labels = ["content_type", "market", "device", "company", "domain"]
    columns = {**{name: name for name in labels}, **_COLUMNS[metric]}
    table = [[_format_figure(name, row) for name in columns.values()] for row in kept]
    title = "Share of voice" if metric is Metric.SOV else "DSI"
    # Name the run: the default is the latest one, which may be a test of five keywords.
    title += f" of run {kept[0]['run_id']}" if kept else ""
    show_table(list(columns), table, title=f"{title}; –: unknown")


def _spool_figures(
    write: Writer,
    ctx: typer.Context,
    run_id: str | None,
    content_type: ContentType | None,
    market: str | None,
    *,
    metric: Metric = Metric.DSI,
) -> tuple[Spool, int]:
    """Write all figures of a run into a spool; return it and their number."""
    spool = Spool()

    async def written() -> int:
        async with _rows(ctx, run_id, content_type, market, metric=metric) as rows:
            return await write(rows, spool)

    return spool, run(written())


def _format_figure(name: str, row: Mapping[str, Any]) -> Any:
    """Format a figure. Shares get four decimals: with two, small ones would be 0."""
    if name == "collected":
        return f"{row['keywords_collected']} of {row['keywords_planned']}"
    if name == "sources":
        return "; ".join(format_source(each, id_length=8) for each in row["sources"])
    value = row[name]
    shares = (
        "coverage", "traffic_share", "relevance", "dsi", "share_of_first", "share_of_volume"
    )  # fmt: skip
    return f"{value:.4f}" if name in shares and value is not None else value


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
