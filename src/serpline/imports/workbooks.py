"""Sheets of an Excel workbook (.xlsx), row by row, by openpyxl in its read-only mode.

A workbook is a zip archive of XML, so a small one may unpack to any size. Before openpyxl sees it,
``check_workbook`` unpacks every part once, in blocks: no part may be over the size limit, have a
text longer than a cell can hold, or declare entities. Formulas are never computed: a cell has the
value that was saved with it.
"""

import codecs
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile

from serpline.domain.errors import UserError
from serpline.domain.keywords import shown
from serpline.imports.delimited import Record

# Excel's own limits, except columns: exports have under a hundred.
ROWS_MAX = 1_048_576
COLUMNS_MAX = 256
PARTS_MAX = 1_000
# A cell holds 32,767 characters, which are up to six times as many bytes in XML.
TEXT_BYTES_MAX = 1_000_000
_BLOCK_BYTES = 500_000
_FORBIDDEN = (b"<!DOCTYPE", b"<!ENTITY", b"<![CDATA[")
# A part may have any name. XML in UTF-16 would hide from the checks; Excel writes UTF-8.
_XML_STARTS = (b"<", b"\0<", codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_XML_NAMES = (".xml", ".rels")
# Pictures and old drawings, which are not read, have declarations.
_DRAWINGS = (".svg", ".vml")
# Excel keeps 15 digits of a number.
_EXACT_BELOW = 10**15
_OVERLAP_BYTES = 16


class SheetDate(str):
    """A cell that is a date or time: often a keyword such as "7-11" that Excel changed."""

    __slots__ = ()


class SheetNumber(str):
    """A number with decimals, or with more digits than Excel keeps (15).

    As a keyword it was often another text: "50%" is stored as 0.5, "3.10" as 3.1.
    """

    __slots__ = ()


class Workbook:
    """An open workbook. ``sheets``: the names of its visible sheets that have cells."""

    def __init__(self, opened: Any) -> None:
        self._opened = opened
        self.sheets: list[str] = [
            sheet.title
            for sheet in opened.worksheets
            if sheet.sheet_state == "visible" and hasattr(sheet, "iter_rows")
        ]

    def head(self, sheet: str, count: int) -> list[Record]:
        """The first rows of a sheet that are not empty."""
        return list(islice(self.records(sheet), count))

    def records(self, sheet: str) -> Iterator[Record]:
        """Yield the rows that are not empty with their numbers from 1. Trailing cells are cut."""
        opened = self._opened[sheet]
        # The dimensions that a file claims would pad its rows.
        opened.reset_dimensions()
        rows = islice(opened.iter_rows(values_only=True), ROWS_MAX)
        with _as_user_error():
            for number, row in enumerate(rows, 1):
                cells = [_text(value) for value in row[:COLUMNS_MAX]]
                while cells and not cells[-1].strip():
                    cells.pop()
                if cells:
                    yield number, cells


@contextmanager
def open_workbook(stream: BinaryIO, size_bytes_max: int) -> Iterator[Workbook]:
    """Open a workbook. Raises ``UserError`` for one that is damaged, locked or over a limit."""
    from openpyxl import load_workbook

    with _as_user_error():
        check_workbook(stream, size_bytes_max)
        stream.seek(0)
        with warnings.catch_warnings():
            # openpyxl warns of what it does not read, such as styles.
            warnings.simplefilter("ignore")
            opened = load_workbook(stream, read_only=True, data_only=True, keep_links=False)
        workbook = Workbook(opened)
    try:
        yield workbook
    finally:
        opened.close()


def check_workbook(stream: BinaryIO, size_bytes_max: int) -> None:
    """Raise ``UserError`` for an archive that could fill the memory."""
    with ZipFile(stream) as archive:
        parts = archive.infolist()
        if len(parts) > PARTS_MAX:
            raise UserError(f"the workbook has {len(parts)} parts, over {PARTS_MAX}")
        total = 0
        for part in parts:
            with archive.open(part) as content:
                text, tail, is_xml = 0, b"", part.filename.endswith(_XML_NAMES)
                is_drawing = part.filename.endswith(_DRAWINGS)
                while block := content.read(_BLOCK_BYTES):
                    total += len(block)
                    if total > size_bytes_max:
                        raise UserError(f"the workbook unpacks to over {size_bytes_max} bytes")
                    if not tail:
                        is_xml |= _begins_as_xml(block)
                    tail = tail or b" "
                    if not is_xml:
                        continue
                    if b"\0" in block:
                        raise UserError(f"the workbook's part {shown(part.filename)} is not UTF-8")
                    if not is_drawing and any(each in tail + block for each in _FORBIDDEN):
                        raise UserError("the workbook has declarations that Excel never writes")
                    text = (
                        text + len(block) if b"<" not in block else len(block) - block.rfind(b"<")
                    )
                    if text > TEXT_BYTES_MAX:
                        raise UserError(f"a cell of the workbook is over {TEXT_BYTES_MAX} bytes")
                    tail = block[-_OVERLAP_BYTES:]


def sheet_problem(keyword: str) -> str | None:
    """Why a cell is probably not the keyword that a person typed; None if it may be."""
    if isinstance(keyword, SheetDate):
        return (
            f"the keyword is a date or time ({shown(keyword)}), which a spreadsheet makes of"
            " keywords such as 7-11: enter it as text"
        )
    if isinstance(keyword, SheetNumber):
        return (
            f"the keyword is the number {keyword}, which a spreadsheet makes of keywords such as"
            " 50%, 3.10 or a long number: enter it as text"
        )
    return None


def _begins_as_xml(block: bytes) -> bool:
    return block.removeprefix(codecs.BOM_UTF8).lstrip(b" \t\r\n").startswith(_XML_STARTS)


def _text(value: Any) -> str:
    """A cell as a person sees it, except that dates and fractions keep their digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_BELOW:
        return str(int(value))
    if isinstance(value, datetime | date | time | timedelta):
        return SheetDate(value)
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= _EXACT_BELOW):
        return SheetNumber(value)
    return str(value)


@contextmanager
def _as_user_error() -> Iterator[None]:
    try:
        yield
    except (UserError, GeneratorExit):
        raise
    except BadZipFile as error:
        raise UserError(f"the archive is damaged: {shown(str(error))}") from None
    except Exception as error:  # noqa: BLE001  openpyxl raises many kinds for damaged XML
        raise UserError(
            f"the workbook cannot be read ({type(error).__name__}: {shown(str(error))})"
        ) from None
