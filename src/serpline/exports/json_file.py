"""JSON: one list with one object per line, in readable Unicode. Instants are ISO 8601 in UTC."""

from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

from serpline.core.escaping import escape_in_json
from serpline.exports.layout import Layout

if TYPE_CHECKING:
    import polars as pl


def write_json(frames: Iterable["pl.DataFrame"], target: IO[bytes], _layout: Layout) -> int:
    """Write frames as a list of objects. Unknown values are null."""
    count = 0
    target.write(b"[")
    for frame in frames:
        if frame.height:
            # A line end in a value is escaped, so each line is an object.
            lines = frame.write_ndjson().rstrip("\n").replace("\n", ",\n")
            target.write(f"{',' if count else ''}\n{escape_in_json(lines)}".encode())
        count += frame.height
    target.write(b"\n]\n")
    return count
