"""``serpline dsi compare`` (also ``serpline compare``): who gained, who lost, and why."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from rich.text import Text

from serpline.cli.common import JsonFlag, print_json, print_message, run, services
from serpline.cli.selecting import FilterOptions, filtered
from serpline.cli.tables import ID_CHARACTERS, Column, Sign, relation_style, show_table, stdout
from serpline.core.escaping import terminal_text
from serpline.domain.errors import UserError
from serpline.domain.names import SEARCHED_TYPES, ContentType

if TYPE_CHECKING:
    from serpline.pipeline.comparison import Comparison
    from serpline.pipeline.filters import Filters
    from serpline.store.database import Connection
    from serpline.store.results.selection import Selection

_SIDE_HELP = "Run id, its first characters, latest, or a day such as 2026-11-30"
_PLACE = ("content_type", "market", "device")
_KEYWORDS_SHOWN_MAX = 100
_NAMED_MAX = 3
_PARTS = ("coverage", "positions", "volume", "relevance")


def _compare(
    ctx: typer.Context,
    filters: FilterOptions,
    before: Annotated[
        str | None, typer.Argument(help=f"{_SIDE_HELP}. Default: the tracked run before.")
    ] = None,
    after: Annotated[str | None, typer.Argument(help=f"{_SIDE_HELP}. Default: latest.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Companies of each content type, market and device.")
    ] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Compare the DSI of two runs: who gained and lost, and why.

    The change is split exactly over coverage, positions, volume and relevance. With companies
    (--company, --ours, --competitors), their new, lost, better and worse keywords follow. What is
    not comparable has no change, and a note says why.
    """

    async def read() -> "tuple[list[dict[str, Any]], list[dict[str, Any]] | None]":
        async with services(ctx) as opened, opened.database.transaction() as conn:
            return await _read(conn, before, after, filters.read())

    companies, keywords = run(read())
    if as_json:
        print_json({"companies": companies, "keywords": keywords})
        return
    for no, (_, of_place) in enumerate(groupby(sorted(companies, key=_place), key=_place)):
        if no:
            typer.echo()
        _show_companies(list(of_place), limit)
    if keywords is not None:
        typer.echo()
        _show_keywords(keywords)


compare = filtered(_compare, left_out=("run", "since", "until", "tag", "landscape"))
compare.__name__ = "compare"


async def _read(
    conn: "Connection", before: str | None, after: str | None, filters: "Filters"
) -> "tuple[list[dict[str, Any]], list[dict[str, Any]] | None]":
    from serpline.pipeline.comparison import compare as compared
    from serpline.pipeline.comparison import find_side
    from serpline.pipeline.filters import LATEST, RELATIONS, select
    from serpline.store.results import reading

    wanted = await select(conn, reading.Figure, filters)
    asked = [ContentType(each) for each in wanted.content_types]
    if ContentType.ALL in asked:
        raise UserError("--content-type all cannot be compared: choose organic, news or video")
    marked = reading.Selection(relations=RELATIONS)
    marks = {
        row.company: row.relation async for row in reading.stream(conn, reading.Company, marked)
    }
    is_named = bool(wanted.companies or wanted.relations)
    companies: list[dict[str, Any]] = []
    keywords: list[dict[str, Any]] = []
    refused: list[UserError] = []
    for kind in asked or SEARCHED_TYPES:
        try:
            then = None if before is None else await find_side(conn, before, kind)
            now = await find_side(conn, after or LATEST, kind)
            found = await compared(conn, then, now, kind)
        except UserError as error:
            refused.append(error)
            continue
        rows = [row | {"relation": marks.get(row["company"])} for row in found.companies]
        companies += [row for row in rows if _is_asked(row, wanted)]
        keywords += _moved(found, companies) if is_named else []
    if not companies:
        raise refused[0] if refused else UserError("no company of both runs is asked for")
    return companies, keywords if is_named else None


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in _PLACE)


def _is_asked(row: Mapping[str, Any], wanted: "Selection") -> bool:
    checks = (
        ("market", wanted.markets),
        ("device", wanted.devices),
        ("company", wanted.companies),
        ("relation", wanted.relations),
    )
    return all(not values or row[name] in values for name, values in checks)


def _moved(found: "Comparison", companies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    wanted = {(*_place(row), row["company"]) for row in companies}
    rows = [
        row for row in found.moved.iter_rows(named=True) if (*_place(row), row["company"]) in wanted
    ]
    order = ("new", "lost", "up", "down", "same")
    return sorted(rows, key=lambda row: (order.index(row["movement"]), str(row["keyword"])))


def _show_companies(rows: Sequence[Mapping[str, Any]], limit: int) -> None:
    first = rows[0]
    sides = [
        f"{first[f'collected_on_{side}']} (run {_short(first[f'run_{side}'])})"
        for side in ("before", "after")
    ]
    place = ", ".join(_place(first))
    largest = sorted(rows, key=lambda row: -abs(row["change"] or 0.0))[:limit]
    shown = sorted(largest, key=lambda row: (row["change"] is None, -(row["change"] or 0.0)))
    columns = [
        Column("company"),
        Column("status", drop=3),
        Column("before", drop=2, digits=3),
        Column("after", drop=5, digits=3),
        Column("change", digits=3, signed=True, missing=Sign.UNKNOWN),
        *(Column(name, digits=3, signed=True, missing=Sign.UNKNOWN) for name in _PARTS),
        Column("keywords", drop=6),
        Column("top 3", drop=1),
        Column("top 10", drop=4),
    ]
    cells = [
        [
            row["company"],
            row["status"],
            row["dsi_before"],
            row["dsi_after"],
            row["change"],
            *(row[f"part_{name}"] for name in _PARTS),
            _won_lost(row, "keywords_new", "keywords_lost"),
            _won_lost(row, "top3_won", "top3_lost"),
            _won_lost(row, "top10_won", "top10_lost"),
        ]
        for row in shown
    ]
    show_table(
        columns,
        cells,
        title=f"DSI compared: {place}, {' and '.join(sides)}",
        styles=[relation_style(row["relation"]) for row in shown],
    )
    notes: dict[str, list[str]] = {}
    for row in shown:
        if row["note"]:
            notes.setdefault(row["note"], []).append(row["company"])
    for note, companies in notes.items():
        more = f" and {len(companies) - _NAMED_MAX} more" if len(companies) > _NAMED_MAX else ""
        line = f"no change: {note} ({', '.join(companies[:_NAMED_MAX])}{more})"
        stdout().print(Text(terminal_text(line)))
    if len(rows) > limit:
        print_message(f"only the {limit} largest changes are shown; --limit shows more")


def _show_keywords(rows: Sequence[Mapping[str, Any]]) -> None:
    moved = [row for row in rows if row["movement"] != "same"]
    columns = [
        Column("company", drop=3, is_key=True),
        Column("keyword"),
        *(Column(name.removeprefix("content_"), drop=1, is_key=True) for name in _PLACE),
        Column("what"),
        Column("pos"),
        Column("url", drop=2),
    ]
    cells = [
        [
            row["company"],
            row["keyword"],
            *(row[name] for name in _PLACE),
            row["movement"],
            f"{row['position_before'] or Sign.NONE} → {row['position_after'] or Sign.NONE}",
            _urls(row),
        ]
        for row in moved[:_KEYWORDS_SHOWN_MAX]
    ]
    if cells:
        show_table(columns, cells, title="Keywords new, lost, better and worse")
    if len(moved) > _KEYWORDS_SHOWN_MAX:
        print_message(f"only {_KEYWORDS_SHOWN_MAX} of {len(moved)} keywords are shown; --json: all")


def _urls(row: Mapping[str, Any]) -> str:
    then, now = row["url_before"], row["url_after"]
    return now or then if None in (then, now) or then == now else f"{then} → {now}"


def _won_lost(row: Mapping[str, Any], won: str, lost: str) -> str:
    return f"+{row[won]} -{row[lost]}" if row[won] or row[lost] else "0"


def _short(run_id: UUID) -> str:
    return str(run_id)[:ID_CHARACTERS]
