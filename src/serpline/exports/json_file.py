"""JSON: one list with one object per line, in readable Unicode. Instants are ISO 8601 in UTC."""

from collections.abc import Iterable
from itertools import chain
from typing import IO, TYPE_CHECKING, Final

from serpline.core.escaping import escape_in_json
from serpline.exports.layout import Layout

if TYPE_CHECKING:
    import polars as pl

ROWS_AT_ONCE: Final = 2_000


def write_json(frames: Iterable["pl.DataFrame"], target: IO[bytes], _layout: Layout) -> int:
    """Write frames as a list of objects. Unknown values are null."""
    count = 0
    target.write(b"[")
    for part in chain.from_iterable(frame.iter_slices(ROWS_AT_ONCE) for frame in frames):
        if part.height:
            # A line end in a value is escaped, so each line is an object.
            lines = part.write_ndjson().rstrip("\n").replace("\n", ",\n")
            target.write(f"{',' if count else ''}\n{escape_in_json(lines)}".encode())
        count += part.height
    target.write(b"\n]\n")
    return count
