"""``serpline rankings``. Not collected, not ranked and ranked are three different states."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serpline.cli.common import (
    JsonFlag,
    print_message,
    print_spool,
    require_utf8,
    run,
    services,
    spool_list,
)
from serpline.cli.selecting import FilterOptions, choose_run, filtered, heading, varying
from serpline.cli.tables import Column, Sign, relation_style, show_table
from serpline.core.spool import Spool
from serpline.domain.errors import UserError
from serpline.domain.names import SEARCHED_TYPES

if TYPE_CHECKING:
    from serpline.domain.results import Ranking, Run
    from serpline.store.database import Connection
    from serpline.store.results.selection import Selection

LIMIT_MAX = 5_000_000
_ORDER = ("keyword", "market", "content_type", "device", "rank")


@filtered
def rankings(
    ctx: typer.Context,
    filters: FilterOptions,
    keyword: Annotated[
        str | None, typer.Option(callback=require_utf8, help="Only this keyword.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="Maximum number of rows.")] = 200,
    as_json: JsonFlag = False,
) -> None:
    """Show who ranks where: a row per result, by keyword, market, content type and device.

    A planned search without a result has a row too: not ranked, or not collected. With one
    --company, so has each search in which that company does not rank.
    """

    spool, count = Spool(), 0

    async def read() -> "tuple[Run, list[Ranking]]":
        from serpline.domain.results import Ranking

        async def counted(found: "AsyncIterable[Ranking]") -> "AsyncIterator[Ranking]":
            nonlocal count
            async for row in found:
                count += 1
                if count > limit:
                    return
                yield row

        async with services(ctx) as opened, opened.database.transaction() as conn:
            asked = filters.read(keyword=keyword)
            selection, chosen = await choose_run(conn, Ranking, asked)
            # One more than shown tells whether there are more.
            async with aclosing(_rows(conn, selection, limit + 1)) as found:
                rows = counted(found)
                if not as_json:
                    return chosen, [row async for row in rows]
                await spool_list((asdict(row) async for row in rows), spool)
                return chosen, []

    chosen, rows = run(read())
    if keyword and not count:
        # Every keyword of a run has rows; a keyword that was not collected has its state.
        raise UserError(f"keyword {keyword!r}: run {chosen.run_id} has no such keyword")
    if count > limit:
        print_message(f"only the first {limit} rows are shown; --limit shows more")
    if as_json:
        print_spool(spool)
    else:
        what = f"Rankings of {keyword!r}" if keyword else "Rankings"
        show_rankings(rows, heading(what, chosen, rows), with_keyword=keyword is None)


async def _rows(
    conn: "Connection", selection: "Selection", limit: int
) -> "AsyncGenerator[Ranking, None]":
    from serpline.store.results import reading

    if len(selection.companies) != 1 or selection.relations:
        async with aclosing(
            reading.stream(conn, reading.Ranking, selection, order=_ORDER, limit=limit)
        ) as found:
            async for row in found:
                yield row
        return
    # The searches of one company: those in which it ranks, and all others with their state.
    ranked: dict[tuple[Any, ...], list[Ranking]] = {}
    async with aclosing(reading.stream(conn, reading.Ranking, selection, order=_ORDER)) as found:
        async for row in found:
            ranked.setdefault(_search(row), []).append(row)
    if not ranked:
        await _check_unmerged(conn, selection)
    searches = replace(selection, companies=(), relations=())
    async with aclosing(
        reading.stream(conn, reading.Serp, searches, order=_ORDER[:-1], limit=limit)
    ) as planned:
        async for search in planned:
            for row in ranked.get(_search(search)) or [_without(search)]:
                yield row


async def _check_unmerged(conn: "Connection", selection: "Selection") -> None:
    """Raise ``UserError`` if the run counts the company as another: it may rank nevertheless."""
    from serpline.store.companies import aliases
    from serpline.store.runs.runs import source_runs

    assert selection.run_id is not None
    (company,) = selection.companies
    figures_of = (await source_runs(conn, selection.run_id))["dsi_calculation"]
    for kind in selection.content_types or SEARCHED_TYPES:
        if into := (await aliases(conn, figures_of, kind)).get(company):
            raise UserError(f"company {company!r}: run {selection.run_id} counts it as {into}")


def _search(row: Any) -> tuple[Any, ...]:
    return row.keyword_id, row.market, row.content_type, row.device


def _without(search: Any) -> "Ranking":
    """The row of a search in which the company does not rank."""
    from serpline.domain.results import Ranking, columns_of

    names = {each.name for each in columns_of(Ranking)}
    shared = {name: value for name, value in asdict(search).items() if name in names}
    missing = dict.fromkeys(names - shared.keys())
    state = "not ranked" if search.state == "collected" else search.state
    return Ranking(**{**missing, **shared, "state": state})


def show_rankings(rows: "Sequence[Ranking]", title: str, *, with_keyword: bool = False) -> None:
    """Print rankings as a table. Without a position, the column shows the state.

    ``with_keyword``: the title does not name the keyword, so a column does.
    """
    places = varying(rows)
    if with_keyword:
        places = ["keyword", *places]
    columns = [
        *(Column(name.removeprefix("content_"), wraps=name == "keyword") for name in places),
        Column("pos", wraps=False),
        Column("company"),
        Column("url", drop=1),
        Column("title", drop=2),
        Column("volume", drop=3, missing=Sign.UNKNOWN),
    ]
    cells = [
        [
            *(getattr(row, name) for name in places),
            row.position or row.state,
            row.company_name or row.company,
            row.url,
            row.title,
            row.search_volume,
        ]
        for row in rows
    ]
    show_table(columns, cells, title=title, styles=[relation_style(row.relation) for row in rows])
