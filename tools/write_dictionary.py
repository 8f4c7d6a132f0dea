"""Write the columns of every view into ``docs/dictionary.md``, from the row classes.

``python tools/write_dictionary.py`` rewrites the tables. A test compares them with the classes, and
another one the classes with the comments in the database.
"""

import re
import sys
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from uuid import UUID

from serpline.domain.results import ROWS, Row, columns_of

DOCUMENT = Path(__file__).parents[1] / "docs" / "dictionary.md"
TYPES: dict[type, str] = {
    UUID: "uuid",
    str: "text",
    int: "integer",
    float: "double precision",
    bool: "boolean",
    date: "date",
    datetime: "timestamptz",
    tuple: "text[]",
    list: "jsonb",
}


def lines(row: type[Row]) -> Iterator[str]:
    """The heading, the description and a table row per column."""
    yield f"### {row.VIEW}"
    yield ""
    yield " ".join((row.__doc__ or "").split())
    yield ""
    yield "| column | type | null | meaning |"
    yield "|---|---|---|---|"
    for each in columns_of(row):
        null = "yes" if each.is_nullable else ""
        yield f"| `{each.name}` | {TYPES[each.type]} | {null} | {each.column.comment} |"


def drawn(document: str) -> str:
    """The document with the block of views rewritten."""
    written = "\n\n".join("\n".join(lines(row)) for row in ROWS)
    block = r"(?<=<!-- views -->\n).*?(?=\n<!-- end -->)"
    document, found = re.subn(block, lambda _: written, document, flags=re.DOTALL)
    if found != 1:
        raise SystemExit(f"{DOCUMENT.name} has {found} blocks of views")
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{DOCUMENT.name}: {len(ROWS)} views\n")
