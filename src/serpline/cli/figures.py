"""Tables of figures: ``serpline dsi show`` and ``serpline sov``."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serpline.cli.common import (
    JsonFlag,
    print_message,
    print_spool,
    run,
    services,
    split_list,
    spool_list,
)
from serpline.cli.selecting import FilterOptions, choose_run, filtered, heading
from serpline.cli.tables import ID_CHARACTERS, Column, Sign, relation_style, show_table
from serpline.core.spool import Spool
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType

if TYPE_CHECKING:
    from serpline.domain.results import Figure, Row, Run, ShareOfVoice

LimitOption = Annotated[
    int, typer.Option(min=1, help="Companies of each content type, market and device.")
]
# The view's order within a run: known before unknown, then the figure, then the next one.
_PLACE_FIRST = ("content_type", "market", "device")
_UNKNOWN = Sign.UNKNOWN


@filtered
def show(
    ctx: typer.Context, filters: FilterOptions, limit: LimitOption = 20, as_json: JsonFlag = False
) -> None:
    """Show the companies with the highest DSI, with its components (--json: all companies)."""
    from serpline.domain.results import Figure

    _show(ctx, filters, Figure, limit, as_json=as_json, table=_dsi_table)


@filtered
def sov(
    ctx: typer.Context, filters: FilterOptions, limit: LimitOption = 20, as_json: JsonFlag = False
) -> None:
    """Show the companies with the highest share of voice (--json: all companies).

    Shares of the traffic of all results, of position 1 everywhere, and of all tracked volume.
    """
    from serpline.domain.results import ShareOfVoice

    if ContentType.ALL in (split_list(filters.content_type) or ()):
        raise UserError("--content-type all has no share of voice: choose organic, news or video")
    _show(ctx, filters, ShareOfVoice, limit, as_json=as_json, table=_sov_table)


def _show(
    ctx: typer.Context,
    filters: FilterOptions,
    row: "type[Row]",
    limit: int,
    *,
    as_json: bool,
    table: Callable[[Sequence[Any], "Run"], None],
) -> None:
    async def spooled() -> Spool:
        spool = Spool()
        async with _rows(ctx, filters, row, None) as (_, found):
            await spool_list((document(each) async for each in found), spool)
        return spool

    async def read() -> "tuple[Run, list[Any]]":
        async with _rows(ctx, filters, row, limit) as (chosen, found):
            return chosen, [each async for each in found]

    if as_json:
        print_spool(run(spooled()))
        return
    chosen, rows = run(read())
    if not rows:
        print_message(f"run {chosen.run_id} has no such figures")
    places = groupby(rows, key=lambda each: [getattr(each, name) for name in _PLACE_FIRST])
    for no, (_, of_place) in enumerate(places):
        if no:
            typer.echo()
        table(list(of_place), chosen)


@asynccontextmanager
async def _rows(
    ctx: typer.Context, filters: FilterOptions, row: "type[Row]", per_place: int | None
) -> "AsyncIterator[tuple[Run, AsyncIterator[Any]]]":
    from serpline.store.results import reading

    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(services(ctx))
        conn = await stack.enter_async_context(opened.database.transaction())
        selection, chosen = await choose_run(conn, row, filters.read())
        found = reading.stream(conn, row, selection, order=row.ORDER, per_place=per_place)
        yield chosen, await stack.enter_async_context(aclosing(found))


def document(row: "Figure | ShareOfVoice") -> dict[str, Any]:
    """A row as ``--json`` prints it: ``company`` is the name, ``domain`` the key."""
    values = asdict(row)
    company, name = values.pop("company"), values.pop("company_name")
    run_id = values.pop("run_id")
    return {"run_id": run_id, "company": name or company, "domain": company, **values}


def company_columns(rows: Sequence[Any]) -> tuple[list[Column], list[list[Any]]]:
    """The columns that name a company, and their cells: name, key, and the mark if there is any."""
    cells = [[row.company_name or row.company, row.company] for row in rows]
    # Two companies of one name are told apart by their domains.
    is_unique = len({name for name, _ in cells}) == len(cells)
    columns = [Column("company"), Column("domain", drop=7 if is_unique else 0, wraps=False)]
    if any(row.relation for row in rows):
        columns.append(Column("mark", drop=8))
        cells = [[*cell, row.relation] for cell, row in zip(cells, rows, strict=True)]
    return columns, cells


def print_figures(
    title: str, rows: Sequence[Any], figures: Mapping[Column, Callable[[Any], Any]]
) -> None:
    """Print a row per company: who it is, then each figure."""
    named, cells = company_columns(rows)
    cells = [
        [*cell, *(read(row) for read in figures.values())]
        for cell, row in zip(cells, rows, strict=True)
    ]
    styles = [relation_style(row.relation) for row in rows]
    show_table([*named, *figures], cells, title=title, styles=styles)


def _dsi_table(rows: "Sequence[Figure]", chosen: "Run") -> None:
    combined = rows[0].content_type == ContentType.ALL
    missing = Sign.NOT_APPLICABLE if combined else _UNKNOWN
    print_figures(
        f"{heading('DSI', chosen, rows)}; {_collected(rows[0])}",
        rows,
        {
            Column("DSI", digits=4, missing=_UNKNOWN): lambda row: row.dsi,
            Column("coverage", digits=4, missing=_UNKNOWN): lambda row: row.coverage,
            Column("traffic share", digits=4, missing=missing): lambda row: row.traffic_share,
            Column("relevance", digits=4, missing=missing): lambda row: row.relevance,
            Column("pages judged", drop=4): lambda row: row.relevance_basis,
            Column("completeness", drop=5): lambda row: row.completeness,
            Column("curve", drop=1): lambda row: row.curve,
            Column("sources", drop=3 if combined else 2): lambda row: "; ".join(
                format_source(each, id_length=ID_CHARACTERS) for each in row.sources
            ),
        },
    )


def _sov_table(rows: "Sequence[ShareOfVoice]", chosen: "Run") -> None:
    print_figures(
        f"{heading('Share of voice', chosen, rows)}; {_collected(rows[0])}",
        rows,
        {
            Column("of results", digits=4, missing=_UNKNOWN): lambda row: row.share_of_results,
            Column("of first", digits=4, missing=_UNKNOWN): lambda row: row.share_of_first,
            Column("of volume", digits=4, missing=_UNKNOWN): lambda row: row.share_of_volume,
            Column("unweighted", digits=4, missing=_UNKNOWN): lambda row: row.share_unweighted,
            Column("curve", drop=1): lambda row: row.curve,
        },
    )


def _collected(row: Any) -> str:
    """For the title: all companies of a place share its searches."""
    return f"{row.keywords_collected} of {row.keywords_planned} searches collected"


def format_source(each: Mapping[str, Any], id_length: int | None = None) -> str:
    """Format a source: content type, date and run, as in ``news 2026-11-29 0f2c1a9b stale``.

    A late snapshot names the slot that it stands for.
    """
    stale = " stale" if each["stale"] else ""
    late = f" late for {each['late_for']}" if each.get("late_for") else ""
    run_id = each["run_id"][:id_length]
    return f"{each['content_type']} {each['collected_on']} {run_id}{stale}{late}"
