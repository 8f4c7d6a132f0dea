"""JSON: one list with one object per line, in readable Unicode. Instants are ISO 8601 in UTC."""

import json
from collections.abc import Iterable
from itertools import chain
from typing import IO, TYPE_CHECKING, Final

from serpline.core.escaping import escape_in_json
from serpline.exports.layout import Layout

if TYPE_CHECKING:
    import polars as pl

ROWS_AT_ONCE: Final = 2_000


def write_json(frames: Iterable["pl.DataFrame"], target: IO[bytes], layout: Layout) -> int:
    """Write frames as a list of objects. Unknown values are null; documents are nested."""
    count = 0
    target.write(b"[")
    for part in chain.from_iterable(frame.iter_slices(ROWS_AT_ONCE) for frame in frames):
        if part.height:
            # A line end in a value is escaped, so each line is an object.
            lines = part.write_ndjson().rstrip("\n").split("\n")
            if layout.documents:
                lines = [_nested(line, layout.documents) for line in lines]
            text = escape_in_json(",\n".join(lines))
            target.write(f"{',' if count else ''}\n{text}".encode())
        count += part.height
    target.write(b"\n]\n")
    return count


def _nested(line: str, documents: Iterable[str]) -> str:
    """Put documents in the place of their texts."""
    row = json.loads(line)
    row |= {name: json.loads(row[name]) for name in documents if row[name] is not None}
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
