"""Records of delimited text: quotes, padding, and the lines of plain lists.

Lines are read one at a time and are bounded, so a file without line ends does not fill the memory.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from serpline.domain.keywords import shown

RECORD_LINES_MAX = 20
DELIMITERS = (",", ";", "\t", "|")

# Excel's own line before the header, which names the delimiter.
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[,;\t|]*', re.IGNORECASE)
# The csv module's message for quotes that were opened and not closed.
_ENDS_IN_QUOTES = "unexpected end of data"


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line whose quotes make no record: its text, and why."""

    text: str
    message: str


# The number of a record's first line with its fields.
Record = tuple[int, list[str] | BrokenLine]


def records(lines: Iterator[tuple[int, str]], delimiter: str | None) -> Iterator[Record]:
    """Yield the records of numbered lines. ``delimiter`` None: each line is one field.

    Spreadsheets pad lines with empty fields: trailing ones are removed, and a record of nothing
    else is skipped. A quoted field may span up to ``RECORD_LINES_MAX`` lines. If the quotes make no
    record, only the first line is bad and reading restarts at the next: a forgotten quote costs one
    line.
    """
    if delimiter is None:
        yield from ((number, [_unquoted(text)]) for number, text in lines)
        return
    waiting: deque[tuple[int, str]] = deque()
    while first := waiting.popleft() if waiting else next(lines, None):
        number, text = first
        try:
            found: list[str] | BrokenLine = split_line(text, delimiter)
        except csv.Error as error:
            reason = str(error).replace("\t", "tab")
            found = BrokenLine(text, f"broken quotes in {shown(text)} ({reason})")
            if _ENDS_IN_QUOTES in str(error):
                found = _over_lines(text, lines, waiting, delimiter) or found
        if not isinstance(found, BrokenLine):
            while found and not found[-1].strip():
                found.pop()
        if found:
            yield number, found


def split_line(text: str, delimiter: str) -> list[str]:
    """The fields of one line. Raises ``csv.Error`` for broken quotes."""
    return next(csv.reader([text], delimiter=delimiter, strict=True))


def _unquoted(text: str) -> str:
    """A line of a list. Quotes count only if they enclose the whole line."""
    stripped = text.strip()
    if len(stripped) > 1 and stripped[0] == stripped[-1] == '"':
        inner = stripped[1:-1].replace('""', "")
        if '"' not in inner:
            return stripped[1:-1].replace('""', '"')
    return text


def _over_lines(
    text: str, lines: Iterator[tuple[int, str]], waiting: deque[tuple[int, str]], delimiter: str
) -> list[str] | None:
    """The record that begins with ``text``. Its further lines are removed from ``waiting``."""
    for count in range(1, RECORD_LINES_MAX):
        if len(waiting) < count:
            further = next(lines, None)
            if further is None:
                return None
            waiting.append(further)
        text = f"{text}\n{waiting[count - 1][1]}"
        try:
            fields = split_line(text, delimiter)
        except csv.Error as error:
            if _ENDS_IN_QUOTES in str(error):
                continue
            return None
        for _ in range(count):
            waiting.popleft()
        return fields
    return None
