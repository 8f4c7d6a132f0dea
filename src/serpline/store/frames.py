"""Rows of a statement over a whole run as a frame: without a Python object for each value.

A dictionary for each of 600,000 results takes a gigabyte; the frame takes a tenth of it. COPY
escapes what could be taken for the end of a value or row, so a line is a row whatever is in it.
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

# Parsed at once, so that the lines of a run are never held beside its frame.
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


async def read_frame(
    conn: Connection, statement: TextClause, values: Mapping[str, Any], columns: Mapping[str, type]
) -> "pl.DataFrame":
    """The rows of a statement that ``execute_hash_joined`` could execute; NULL is null.

    ``columns``: two names or more, in the statement's order, each with bool, int, float or str.
    """
    compiled = statement.compile(dialect=conn.dialect)
    query = sql.SQL(f"({compiled})")
    given = compiled.construct_params(dict(values))
    async with hash_joins_only(conn), aclosing(copy_out(conn, query, BLOCK_BYTES, given)) as blocks:
        frames = [await asyncio.to_thread(_parsed, lines, columns) async for lines in blocks]
    return await asyncio.to_thread(_joined, frames)


def _parsed(lines: bytes, columns: Mapping[str, type]) -> "pl.DataFrame":
    import polars as pl  # not at a worker's start: it takes its time

    kinds = {bool: pl.String, int: pl.Int64, float: pl.Float64, str: pl.String}
    frame = pl.read_csv(
        # The parser takes a first U+FEFF for a mark of the encoding, and drops it.
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


def _joined(frames: "list[pl.DataFrame]") -> "pl.DataFrame":
    import polars as pl

    return pl.concat(frames, rechunk=True)
