"""Export formats of figures: CSV, JSON and Parquet, written row by row where possible."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from io import BytesIO
from typing import TYPE_CHECKING, Any

from serpline.cli.common import spool_list
from serpline.core.escaping import spreadsheet_text
from serpline.core.spool import Spool

if TYPE_CHECKING:
    import polars as pl

Writer = Callable[[AsyncIterable[Mapping[str, Any]], Spool], Awaitable[int]]
"""Writes figures into a spool and returns their number."""

ROWS_PER_FRAME = 10_000


class Format(StrEnum):
    """An export format."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def format_source(each: Mapping[str, Any], id_length: int | None = None) -> str:
    """Format a source: content type, date and run, as in ``news 2026-11-29 0f2c1a9b stale``.

    A late snapshot names the slot that it stands for.
    """
    stale = " stale" if each["stale"] else ""
    late = f" late for {each['late_for']}" if each.get("late_for") else ""
    run_id = each["run_id"][:id_length]
    return f"{each['content_type']} {each['collected_on']} {run_id}{stale}{late}"


def _frame(rows: Sequence[Mapping[str, Any]]) -> "pl.DataFrame":
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
        "completeness": text,
        "coverage": number,
        "keywords_ranked": whole,
        "keywords_collected": whole,
        "keywords_planned": whole,
        "traffic_share": number,
        "share_unweighted": number,
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
        "late_types": text,
    }
    plain = [
        {
            **row,
            "run_id": str(row["run_id"]),
            "sources": "; ".join(format_source(each) for each in row["sources"]),
            "stale_types": ",".join(row["stale_types"]),
            "late_types": ",".join(row["late_types"]),
        }
        for row in rows
    ]
    return pl.DataFrame(plain, schema=schema, orient="row")


async def _frames(rows: AsyncIterable[Mapping[str, Any]]) -> AsyncIterator["pl.DataFrame"]:
    """Read rows into frames of ``ROWS_PER_FRAME``. The last frame may be empty."""
    portion = []
    async for row in rows:
        portion.append(row)
        if len(portion) == ROWS_PER_FRAME:
            yield _frame(portion)
            portion.clear()
    yield _frame(portion)


async def _csv(rows: AsyncIterable[Mapping[str, Any]], spool: Spool) -> int:
    safe = (
        {k: spreadsheet_text(v) if isinstance(v, str) else v for k, v in row.items()}
        async for row in rows
    )
    count, is_first = 0, True
    async for frame in _frames(safe):
        spool.write(frame.write_csv(include_header=is_first).encode())
        count, is_first = count + frame.height, False
    return count


async def _parquet(rows: AsyncIterable[Mapping[str, Any]], spool: Spool) -> int:
    """Parquet stores by column, so all figures are held in one frame."""
    import polars as pl

    frame = pl.concat([frame async for frame in _frames(rows)])
    buffer = BytesIO()
    frame.write_parquet(buffer)
    spool.write(buffer.getvalue())
    return frame.height


WRITERS: Mapping[Format, Writer] = {
    Format.CSV: _csv,
    Format.JSON: spool_list,
    Format.PARQUET: _parquet,
}
