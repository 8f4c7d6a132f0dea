"""Parquet with zstd, in row groups: a file of any size takes the memory of a few portions."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Final

from serpline.exports.layout import Layout

if TYPE_CHECKING:
    import polars as pl

ROWS_PER_GROUP: Final = 100_000


def write_parquet(frames: Iterable["pl.DataFrame"], target: IO[bytes], layout: Layout) -> int:
    """Write frames as Parquet. Its metadata have the facts and the columns' descriptions."""
    import polars as pl
    from polars.io.plugins import register_io_source

    remaining = iter(frames)
    first = next(remaining)
    count = 0
    failure: list[BaseException] = []

    def read(*_: Any) -> Iterator[pl.DataFrame]:
        nonlocal count
        try:
            for frame in chain([first], remaining):
                count += frame.height
                yield frame
        except BaseException as error:  # the engine would report it as a text
            failure.append(error)
            raise

    source = register_io_source(read, schema=first.schema)
    metadata = {
        "serpline.table": layout.table,
        "serpline.about": json.dumps(layout.about, ensure_ascii=False),
        "serpline.columns": json.dumps(layout.columns, ensure_ascii=False),
    }
    try:
        source.sink_parquet(target, row_group_size=ROWS_PER_GROUP, metadata=metadata)
    except Exception:
        if failure:
            raise failure[0] from None
        raise
    return count
