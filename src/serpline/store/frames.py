"""Read the rows of a statement over a whole run into a frame, without Python objects per value.

600,000 results as dictionaries take a gigabyte; the frame takes a tenth of that. COPY escapes
separators inside values, so each line is exactly one row.
"""

import asyncio
from codecs import BOM_UTF8
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from psycopg import sql
from sqlalchemy import TextClause, text

from serpline.store.copying import copy_out
from serpline.store.database import Connection
from serpline.store.hash_joins import hash_joins_only

if TYPE_CHECKING:
    import polars as pl

# Parsed block by block, so that a run's lines are never all in memory beside its frame.
BLOCK_BYTES = 4 * 1024 * 1024
_ESCAPED = {
    r"\\": "\\",
    r"\b": "\b",
    r"\f": "\f",
    r"\n": "\n",
    r"\r": "\r",
    r"\t": "\t",
    r"\v": "\v",
}


class Repeated(str):
    """A text column of few different values, without backslashes: 4 bytes a row, not 16."""


FieldKinds = Mapping[str, type]
"""The types of a statement's columns by name, in its order, two or more.

bool, int, float, str, ``Repeated``, UUID, date, datetime; tuple: a list of texts; list: JSON.
"""

# How a type is written, so that the parser reads it fast and in no one's time zone.
_WRITTEN = {
    date: "{0} - DATE 'epoch' AS {0}",
    datetime: "CAST(extract(epoch FROM {0}) * 1000000 AS bigint) AS {0}",
    tuple: "array_to_json({0}) AS {0}",
}


async def read_frame(
    conn: Connection, statement: TextClause, values: Mapping[str, Any], columns: FieldKinds
) -> "pl.DataFrame":
    """Return the rows of a statement suited to ``execute_hash_joined``; NULL is null."""
    async with hash_joins_only(conn):
        frames = [each async for each in stream_frames(conn, statement, values, columns)]
    return await asyncio.to_thread(_concat, frames)


async def stream_frames(
    conn: Connection, statement: TextClause, values: Mapping[str, Any], columns: FieldKinds
) -> "AsyncGenerator[pl.DataFrame, None]":
    """Yield the rows of any statement, block by block; one frame at least."""
    if _WRITTEN.keys() & set(columns.values()):
        names = ", ".join(_WRITTEN.get(kind, "{0}").format(name) for name, kind in columns.items())
        statement = text(f"SELECT {names} FROM ({statement.text}) written")
    compiled = statement.compile(dialect=conn.dialect)
    query = sql.SQL(f"({compiled})")
    given = compiled.construct_params(dict(values))
    async with aclosing(copy_out(conn, query, BLOCK_BYTES, given)) as blocks:
        async for lines in blocks:
            yield await asyncio.to_thread(_parse, lines, columns)


def _parse(lines: bytes, columns: FieldKinds) -> "pl.DataFrame":
    import polars as pl  # imported late: it slows a worker's start

    kinds: dict[type, type[pl.DataType]] = {
        bool: pl.String,
        int: pl.Int64,
        float: pl.Float64,
        Repeated: pl.Categorical,
        date: pl.Int32,
        datetime: pl.Int64,
    }
    frame = pl.read_csv(
        # The parser drops a leading U+FEFF as a byte order mark, so give it one of its own.
        BOM_UTF8 + lines,
        has_header=False,
        separator="\t",
        quote_char=None,
        null_values=[r"\N"],
        empty_string_is_null=False,
        schema={name: kinds.get(kind, pl.String) for name, kind in columns.items()},
        raise_if_empty=False,
    )
    escaped = b"\\" in lines.replace(rb"\N", b"")
    return frame.with_columns(_read(name, kind, escaped) for name, kind in columns.items())


def _read(name: str, kind: type, escaped: bool) -> "pl.Expr":
    """The expression that reads a column as its type."""
    import polars as pl

    column = pl.col(name)
    if kind is bool:
        return column == "t"
    if kind is date:
        return column.cast(pl.Date)
    if kind is datetime:
        return column.cast(pl.Datetime("us", "UTC"))
    if kind in (int, float, Repeated):
        return column
    text_ = column.str.replace_many(_ESCAPED) if escaped else column
    return text_.str.json_decode(pl.List(pl.String)) if kind is tuple else text_


def _concat(frames: "list[pl.DataFrame]") -> "pl.DataFrame":
    import polars as pl

    return pl.concat(frames, rechunk=True)
