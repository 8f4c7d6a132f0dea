"""The outside of a keyword file: numbered lines of text, and the header that names the columns.

Whatever makes the whole file unusable is found here and raised as a ``UserError`` with the line's
number. Lines are read one at a time, and a single line is bounded too, so a file without line ends
does not fill the memory.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from serpline.domain.errors import UserError

LINE_BYTES_MAX = 65_536

_REQUIRED = ("keyword", "market")
_DELIMITERS = (",", ";", "\t")
_BOM = b"\xef\xbb\xbf"
# Other things that spreadsheets write give themselves away by how they begin.
_FOREIGN_STARTS = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PK\x03\x04": "a spreadsheet or archive",
    b"\x1f\x8b": "gzip",
}
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Header:
    """The delimiter, the number of columns, and where each known column stands (from 0)."""

    delimiter: str
    width: int
    keyword: int
    market: int
    tags: int | None


def numbered_lines(stream: BinaryIO, size_bytes_max: int) -> Iterator[tuple[int, str]]:
    """The lines that hold anything, numbered from 1, decoded, without their ends."""
    size = 0
    number = 0
    while raw := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        size += len(raw)
        if size > size_bytes_max:
            raise UserError(f"line {number}: the file is over {size_bytes_max} bytes; split it")
        if len(raw) > LINE_BYTES_MAX:
            raise UserError(f"line {number}: longer than {LINE_BYTES_MAX} bytes; is this a CSV?")
        if number == 1:
            raw = _first_line(raw)
        text = _decoded(raw.rstrip(b"\r\n"), number)
        if text.strip(" \t"):
            yield number, text


def read_header(lines: Iterator[tuple[int, str]]) -> Header:
    """Take the first line as the header; which delimiter splits it is how it is found."""
    number, text = next(lines, (0, ""))
    if not number:
        raise UserError("the keyword file is empty: the first line must be keyword,market,tags")
    for delimiter in _DELIMITERS:
        try:
            names = next(csv.reader([text], delimiter=delimiter, strict=True))
        except csv.Error:
            continue
        columns = [name.strip().casefold() for name in names]
        if all(name in columns for name in _REQUIRED):
            return _checked(number, delimiter, columns)
    lacking = [name for name in _REQUIRED if name not in text.casefold()]
    what = f"lacks {' and '.join(lacking)}" if lacking else "cannot be split into columns"
    raise UserError(f"line {number}: the header {shown(text)} {what} (keyword,market,tags)")


def shown(text: str) -> str:
    """A value for a message: quoted, control characters escaped, at most 60 characters."""
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
