"""The syntax of a keyword file: numbered lines, the header that names the columns, records.

A problem that makes the whole file unusable raises ``UserError`` with the line's number. Lines are
read one at a time and are bounded, so a file without line ends does not fill the memory.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from serpline.domain.errors import UserError
from serpline.domain.text import visible

LINE_BYTES_MAX = 65_536
RECORD_LINES_MAX = 20

_REQUIRED = ("keyword", "market")
_DELIMITERS = (",", ";", "\t")
_BOM = b"\xef\xbb\xbf"
# The first bytes of other formats that spreadsheets write.
_FOREIGN_STARTS = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PK\x03\x04": "a spreadsheet or archive",
    b"\x1f\x8b": "gzip",
}
_SHOWN_CHARACTERS = 60
_LINE_END = re.compile(b"\r\n|\r|\n")
# Excel's own line before the header, which names the delimiter.
_SEPARATOR = re.compile(r'"?sep=."?[,;\t]*', re.IGNORECASE)
# The csv module's message for quotes that were opened and not closed.
_ENDS_IN_QUOTES = "unexpected end of data"


@dataclass(frozen=True, slots=True)
class Header:
    """The delimiter, the number of columns, and each known column's index (from 0)."""

    delimiter: str
    width: int
    keyword: int
    market: int
    tags: int | None


def numbered_lines(stream: BinaryIO, size_bytes_max: int) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, numbered from 1, decoded, without their ends.

    A line ends with LF, CR LF, or CR alone (files of old Macs).
    """
    for number, raw in _raw_lines(stream, size_bytes_max):
        text = _decoded(_first_line(raw) if number == 1 else raw, number)
        if text.strip(" \t"):
            yield number, text


def _raw_lines(stream: BinaryIO, size_bytes_max: int) -> Iterator[tuple[int, bytes]]:
    size, number, rest = 0, 0, b""
    while read := stream.readline(LINE_BYTES_MAX + 1):
        size += len(read)
        *whole, rest = _LINE_END.split(rest + read)
        if rest == b"" and (rest + read).endswith(b"\r"):
            # Its LF may be the next byte.
            rest = whole.pop() + b"\r"
        for line in whole:
            number += 1
            yield number, _bounded(line, number)
        if size > size_bytes_max:
            over = number + bool(rest)
            raise UserError(f"line {over}: the file is over {size_bytes_max} bytes; split it")
        _bounded(rest, number + 1)
    if rest:
        yield number + 1, _bounded(rest.removesuffix(b"\r"), number + 1)


def _bounded(line: bytes, number: int) -> bytes:
    if len(line) > LINE_BYTES_MAX:
        raise UserError(f"line {number}: longer than {LINE_BYTES_MAX} bytes; is this a CSV?")
    return line


def records(
    lines: Iterator[tuple[int, str]], delimiter: str
) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the number of each record's first line with its fields, or with its problem.

    Spreadsheets pad lines with empty fields: trailing ones are removed, and a record of nothing
    else is skipped. A quoted field may span up to ``RECORD_LINES_MAX`` lines. If the quotes make no
    record, only the first line is bad and reading restarts at the next: a forgotten quote costs one
    line.
    """
    waiting: deque[tuple[int, str]] = deque()
    while first := waiting.popleft() if waiting else next(lines, None):
        number, text = first
        try:
            found: list[str] | str = _fields(text, delimiter)
        except csv.Error as error:
            found = f"broken quotes in {shown(text)} ({error})"
            if _ENDS_IN_QUOTES in str(error):
                found = _over_lines(text, lines, waiting, delimiter) or found
        if not isinstance(found, str):
            while found and not found[-1].strip():
                found.pop()
        if found:
            yield number, found


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
            fields = _fields(text, delimiter)
        except csv.Error as error:
            if _ENDS_IN_QUOTES in str(error):
                continue
            return None
        for _ in range(count):
            waiting.popleft()
        return fields
    return None


def _fields(text: str, delimiter: str) -> list[str]:
    return next(csv.reader([text], delimiter=delimiter, strict=True))


def read_header(lines: Iterator[tuple[int, str]]) -> Header:
    """Read the first line as the header, and find the delimiter that splits it."""
    number, text = next(lines, (0, ""))
    if _SEPARATOR.fullmatch(text):
        number, text = next(lines, (0, ""))
    if not number:
        raise UserError("the keyword file is empty: the first line must be keyword,market,tags")
    for delimiter in _DELIMITERS:
        try:
            names = next(csv.reader([text], delimiter=delimiter, strict=True))
        except csv.Error:
            continue
        columns = [visible(name).strip().casefold() for name in names]
        if all(name in columns for name in _REQUIRED):
            return _checked(number, delimiter, columns)
    lacking = [name for name in _REQUIRED if name not in text.casefold()]
    what = f"lacks {' and '.join(lacking)}" if lacking else "cannot be split into columns"
    raise UserError(f"line {number}: the header {shown(text)} {what} (keyword,market,tags)")


def shown(text: str) -> str:
    """Format a value for a message: quoted, control characters escaped, at most 60 characters."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


def _checked(number: int, delimiter: str, columns: list[str]) -> Header:
    for name in (*_REQUIRED, "tags"):
        if columns.count(name) > 1:
            raise UserError(f"line {number}: the header has the column {name!r} twice")
    return Header(
        delimiter=delimiter,
        width=len(columns),
        keyword=columns.index("keyword"),
        market=columns.index("market"),
        tags=columns.index("tags") if "tags" in columns else None,
    )


def _first_line(raw: bytes) -> bytes:
    for start, name in _FOREIGN_STARTS.items():
        if raw.startswith(start):
            raise UserError(f"line 1: this is {name}, not CSV in UTF-8: save it as 'CSV UTF-8'")
    return raw.removeprefix(_BOM)


def _decoded(raw: bytes, number: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        near = raw[max(0, error.start - 10) : error.start + 10]
        raise UserError(
            f"line {number}: byte {error.start + 1} (0x{raw[error.start]:02x}, in {near!r}) "
            "is not UTF-8: save the file as UTF-8"
        ) from None
