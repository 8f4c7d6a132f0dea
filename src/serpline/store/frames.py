"""Read the rows of a statement over a whole run into a frame, without Python objects per value.

600,000 results as dictionaries take a gigabyte; the frame takes a tenth of that. COPY escapes
separators inside values, so each line is exactly one row.
"""

import asyncio
from codecs import BOM_UTF8
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from psycopg import sql
from sqlalchemy import TextClause

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


async def read_frame(
    conn: Connection, statement: TextClause, values: Mapping[str, Any], columns: Mapping[str, type]
) -> "pl.DataFrame":
    """Return the rows of a statement suited to ``execute_hash_joined``; NULL is null.

    ``columns``: two names or more, in the statement's order, each with bool, int, float, str or
    ``Repeated``.
    """
    compiled = statement.compile(dialect=conn.dialect)
    query = sql.SQL(f"({compiled})")
    given = compiled.construct_params(dict(values))
    async with hash_joins_only(conn), aclosing(copy_out(conn, query, BLOCK_BYTES, given)) as blocks:
        frames = [await asyncio.to_thread(_parse, lines, columns) async for lines in blocks]
    return await asyncio.to_thread(_concat, frames)


def _parse(lines: bytes, columns: Mapping[str, type]) -> "pl.DataFrame":
    import polars as pl  # imported late: it slows a worker's start

    kinds: dict[type, type[pl.DataType]] = {
        bool: pl.String,
        int: pl.Int64,
        float: pl.Float64,
        str: pl.String,
        Repeated: pl.Categorical,
    }
    frame = pl.read_csv(
        # The parser drops a leading U+FEFF as a byte order mark, so give it one of its own.
        BOM_UTF8 + lines,
        has_header=False,
        separator="\t",
        quote_char=None,
        null_values=[r"\N"],
        empty_string_is_null=False,
        schema={name: kinds[kind] for name, kind in columns.items()},
        raise_if_empty=False,
    )
    flags = [pl.col(name) == "t" for name, kind in columns.items() if kind is bool]
    texts = [pl.col(name) for name, kind in columns.items() if kind is str]
    escaped = texts if b"\\" in lines.replace(rb"\N", b"") else []
    return frame.with_columns(*flags, *(text.str.replace_many(_ESCAPED) for text in escaped))


def _concat(frames: "list[pl.DataFrame]") -> "pl.DataFrame":
    import polars as pl

    return pl.concat(frames, rechunk=True)
