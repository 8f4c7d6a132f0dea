"""``serpline dsi show|export|inputs``: the Digital Share Index, with every component beside it."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from serpline.cli.common import (
    JsonFlag,
    RunOption,
    emit,
    failure,
    run,
    say,
    services,
    show_table,
)
from serpline.cli.runs import find_run
from serpline.core.escaping import json_text, spreadsheet_text
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(help="The Digital Share Index of every company.", no_args_is_help=True)

TypeOption = Annotated[ContentType | None, typer.Option(help="Only this type; all: combined.")]
MarketOption = Annotated[str | None, typer.Option(help="Only this market's code.")]


class Metric(StrEnum):
    """What ``dsi show`` shows: the DSI, or the share of voice against its three denominators."""

    DSI = "dsi"
    SOV = "sov"


# The share of results is the traffic share of the DSI.
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


class Format(StrEnum):
    """How figures are exported."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def _rows(
    ctx: typer.Context, given: str | None, content_type: ContentType | None, market: str | None
) -> list[dict[str, Any]]:
    """The figures of a run, the strongest first."""

    async def read() -> list[dict[str, Any]]:
        from serpline.pipeline.report import dsi_rows

        async with services(ctx) as opened:
            found = await find_run(opened, given, scored=True)
            async with opened.database.transaction() as conn:
                rows = await dsi_rows(conn, found, content_type=content_type)
        return [{"run_id": found, **row} for row in of_market(rows, market, found)]

    return run(read())


def of_market(
    rows: Sequence[dict[str, Any]], market: str | None, run_id: UUID
) -> list[dict[str, Any]]:
    """The rows of one market, or all; raises ``UserError`` for one that none of them is of."""
    from serpline.domain.markets import normal_code

    kept = [row for row in rows if market is None or row["market"] == normal_code(market)]
    if rows and not kept:
        known = ", ".join(sorted({row["market"] for row in rows}))
        raise UserError(f"market {market!r}: run {run_id} has no such figures; it has {known}")
    return kept


@app.command()
def show(
    ctx: typer.Context,
    run_id: RunOption = None,
    content_type: TypeOption = None,
    market: MarketOption = None,
    metric: Annotated[Metric, typer.Option(help="dsi, or sov: share of voice.")] = Metric.DSI,
    limit: Annotated[int, typer.Option(min=1, help="Per type, market and device.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """The strongest companies per content type, market and device (with --json: all).

    --metric sov: the share of voice, of all results, of #1 everywhere and of all tracked volume.
    """
    rows = _rows(ctx, run_id, content_type, market)
    if metric is Metric.SOV:
        if content_type is ContentType.ALL:
            raise UserError("--metric sov: --content-type all has none: organic, news or video")
        rows = [row for row in rows if row["content_type"] != ContentType.ALL]
        rows.sort(key=lambda row: (*_landscape(row), -(row["traffic_share"] or 0), row["domain"]))
    if as_json:
        emit(rows)
        return
    shown: Counter[tuple[str, str, str]] = Counter()
    kept = []
    for row in rows:
        shown[_landscape(row)] += 1
        if shown[_landscape(row)] <= limit:
            kept.append(row)
    labels = ["content_type", "market", "device", "company", "domain"]
    columns = {**{name: name for name in labels}, **_COLUMNS[metric]}
    table = [[_shown(name, row) for name in columns.values()] for row in kept]
    title = "Share of voice" if metric is Metric.SOV else "DSI"
    # Without a name the latest run is shown, which may be a test of five keywords.
    title += f" of run {rows[0]['run_id']}" if rows else ""
    show_table(list(columns), table, title=f"{title}; – is not known")


def _landscape(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["content_type"], row["market"], row["device"]


def _shown(name: str, row: Mapping[str, Any]) -> Any:
    """Shares need four places, which the usual two would make 0."""
    if name == "collected":
        return f"{row['keywords_collected']} of {row['keywords_planned']}"
    if name == "sources":
        return "; ".join(_source(each, id_length=8) for each in row["sources"])
    value = row[name]
    shares = (
        "coverage", "traffic_share", "relevance", "dsi", "share_of_first", "share_of_volume"
    )  # fmt: skip
    return f"{value:.4f}" if name in shares and value is not None else value


def _source(each: Mapping[str, Any], id_length: int | None = None) -> str:
    """Such as ``news 2026-11-29 0f2c1a9b stale``: content type, date and run of the collection."""
    stale = " stale" if each["stale"] else ""
    return f"{each['content_type']} {each['collected_on']} {each['run_id'][:id_length]}{stale}"


@app.command()
def export(
    ctx: typer.Context,
    run_id: RunOption = None,
    content_type: TypeOption = None,
    market: MarketOption = None,
    format_: Annotated[Format, typer.Option("--format", help="csv, json or parquet.")] = Format.CSV,
    output: Annotated[Path | None, typer.Option(help="A file; stdout by default.")] = None,
) -> None:
    """Every figure with every component, for other tools.

    In CSV, a text that a spreadsheet would run as a formula (it begins with =, +, -, @, a tab or a
    line end) has an apostrophe before it. Where apostrophes stand before such a character, taking
    one away gives the text back. JSON and Parquet have every text as it is.
    """
    if format_ is Format.PARQUET and output is None and sys.stdout.isatty():
        raise UserError("--format parquet: binary; name a file with --output")
    rows = _rows(ctx, run_id, content_type, market)
    body = _WRITERS[format_](rows)
    with _opened(output) as stream:
        stream.write(body)
    if output is not None:
        say(f"{output}: {len(rows)} figures")


@app.command()
def inputs(
    ctx: typer.Context,
    run_id: RunOption = None,
    output: Annotated[Path | None, typer.Option(help="A file; stdout by default.")] = None,
) -> None:
    """All that the figures were computed from, as JSON Lines, for computing them again.

    python -m serpline.recompute_dsi FILE --company example.com does so, apart from serpline.
    """

    async def write() -> int:
        from serpline.pipeline.dsi_inputs import records

        async with services(ctx) as opened:
            found = await find_run(opened, run_id, scored=True)
            count = 0
            with _opened(output) as stream:
                async with opened.database.transaction() as conn:
                    async for record in records(conn, found):
                        stream.write(json_text(record, indent=None, default=str).encode() + b"\n")
                        count += 1
            return count

    written = run(write())
    if output is not None:
        say(f"{output}: {written} records")


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    """Where the bytes go: a file, or stdout."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with output.open("wb") as stream:
            yield stream
    except OSError as error:
        raise failure(output, error) from None


def _frame(rows: list[dict[str, Any]]) -> "pl.DataFrame":
    import polars as pl

    number, whole, text = pl.Float64, pl.Int64, pl.String
    schema: dict[str, Any] = {
        "run_id": text,
        "company": text,
        "domain": text,
        "relation": text,
        "content_type": text,
        "market": text,
        "device": text,
        "dsi": number,
        "coverage": number,
        "keywords_ranked": whole,
        "keywords_collected": whole,
        "keywords_planned": whole,
        "traffic_share": number,
        "share_of_first": number,
        "share_of_volume": number,
        "relevance": number,
        "relevance_basis": whole,
        "unknown_volume_keywords": whole,
        "unknown_ai_overview_keywords": whole,
        "unanalysed_results": whole,
        "curve": text,
        "curve_version": whole,
        "proxy": pl.Boolean,
        "sources": text,
        "stale_types": text,
    }
    plain = [
        {
            **row,
            "run_id": str(row["run_id"]),
            "sources": "; ".join(_source(each) for each in row["sources"]),
            "stale_types": ",".join(row["stale_types"]),
        }
        for row in rows
    ]
    return pl.DataFrame(plain, schema=schema, orient="row")


def _csv(rows: list[dict[str, Any]]) -> bytes:
    safe = [
        {k: spreadsheet_text(v) if isinstance(v, str) else v for k, v in row.items()}
        for row in rows
    ]
    return _frame(safe).write_csv().encode()


def _json(rows: list[dict[str, Any]]) -> bytes:
    return json_text(rows, indent=1, default=str).encode() + b"\n"


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    _frame(rows).write_parquet(buffer)
    return buffer.getvalue()


_WRITERS: Mapping[Format, Callable[[list[dict[str, Any]]], bytes]] = {
    Format.CSV: _csv,
    Format.JSON: _json,
    Format.PARQUET: _parquet,
}
