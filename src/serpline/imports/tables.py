"""The table in a keyword file: which sheet, encoding, delimiter and header it has."""

import lzma
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast
from zipfile import BadZipFile, ZipFile

from serpline.domain.errors import UserError
from serpline.domain.keywords import shown
from serpline.imports.delimited import DELIMITERS, SEPARATOR_LINE, BrokenLine, Record, records
from serpline.imports.encodings import decoded_lines, find_encoding, named_encoding
from serpline.imports.headers import (
    HEAD_LINES,
    ColumnNames,
    Header,
    find_header,
    missing_header,
)
from serpline.imports.layout import Table, beside, listed, table_of
from serpline.imports.workbooks import open_workbook

ROWS_MAX = 5_000_000
SIZE_BYTES_MAX = 1_000_000_000
ARCHIVE_FILES_MAX = 100
# A file by which to know the archive of another program.
_FOREIGN_ARCHIVES = {
    "mimetype": "an OpenDocument file: save it as .xlsx or CSV",
    "xl/workbook.bin": "a binary workbook (.xlsb): save it as .xlsx or CSV",
    "word/document.xml": "a Word document, not a table",
    "Index/Document.iwa": "a Numbers file: export it as Excel or CSV",
}

_TEXT_FILES = (".csv", ".tsv", ".txt")
# What macOS adds to archives: attributes of the files, in binary form.
_MAC_FOLDER = "__MACOSX/"
_MEMORY_BYTES_MAX = 8_000_000
_ARCHIVE_ERRORS = (
    BadZipFile,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    zlib.error,
)
_ZIP = b"PK\x03\x04"
# The first bytes of files that hold no table.
_FOREIGN_STARTS = {
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls) or one with a password: save it as .xlsx or CSV",
    b"\x1f\x8b": "gzip: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"%PDF": "a PDF, not a table",
    b"{\\rtf": "RTF, not a table: save it as CSV or plain text",
}


@contextmanager
def open_table(
    stream: BinaryIO,
    columns: ColumnNames,
    sheet: str | None,
    encoding: str | None,
    *,
    size_bytes_max: int,
) -> Iterator[Table]:
    """Find the table of a file. Raises ``UserError`` if there is none, or not the one asked for."""
    size = stream.seek(0, 2)
    stream.seek(0)
    if size > size_bytes_max:
        raise UserError(f"the file has {size} bytes, over {size_bytes_max}; split it")
    start = stream.read(1024)
    stream.seek(0)
    for mark, what in _FOREIGN_STARTS.items():
        if start.startswith(mark):
            raise UserError(f"this is {what}")
    with ExitStack() as stack:
        if start.startswith(_ZIP):
            yield _open_archive(stack, stream, columns, sheet, encoding, size_bytes_max)
        elif sheet is not None:
            raise UserError(f"--sheet {sheet!r}: this file is text and has no sheets")
        else:
            yield _text_table(stream, columns, encoding, None)


def _text_table(
    stream: BinaryIO, columns: ColumnNames, encoding: str | None, part: str | None
) -> Table:
    used = named_encoding(encoding) if encoding else find_encoding(stream)
    lines = decoded_lines(stream, used)
    first = list(islice(lines, HEAD_LINES))
    if first and SEPARATOR_LINE.fullmatch(first[0][1]):
        del first[0]
    if not first:
        raise UserError("the keyword file is empty")
    if first[0][1].lstrip()[:1] == "<" or first[0][1].lstrip()[:2] == '{"':
        raise UserError(f"line {first[0][0]}: {shown(first[0][1])} begins no table and no list")
    found: list[tuple[int, str | None, Header]] = []
    for delimiter in DELIMITERS:
        header = find_header(list(records(iter(first), delimiter)), columns)
        if header is not None:
            # A header of one name is the same by every delimiter; the one that pads it wins.
            padded = delimiter in dict(first)[header.line]
            width = len(header.names)
            found.append((width, delimiter if width > 1 or padded else None, header))
    all_lines = chain(first, lines)
    if found:
        width, chosen, header = max(found, key=lambda each: (each[0], each[1] is not None))
        below = islice(records(all_lines, chosen), header.position + 1, None)
        return table_of("CSV" if chosen else "list", part, used, chosen, header, below)
    if columns.keyword is not None or not _is_list(first):
        best = max(DELIMITERS, key=lambda each: sum(each in text for _, text in first))
        raise missing_header(list(records(iter(first), best)), columns)
    return table_of("list", part, used, None, None, records(all_lines, None))


def _is_list(first: list[tuple[int, str]]) -> bool:
    """Whether most lines have one field: some keywords contain commas."""
    several = [any(each in text for each in DELIMITERS) for _, text in first]
    return sum(several) * 2 < len(first) + (not several[0])


def _open_archive(
    stack: ExitStack,
    stream: BinaryIO,
    columns: ColumnNames,
    sheet: str | None,
    encoding: str | None,
    size_bytes_max: int,
) -> Table:
    try:
        with ZipFile(stream) as archive:
            names = {each.filename for each in archive.infolist()}
            for name, what in _FOREIGN_ARCHIVES.items():
                if name in names:
                    raise UserError(f"this is {what}")
            if "xl/workbook.xml" not in names:
                return _archived_text(stack, archive, columns, sheet, encoding, size_bytes_max)
    except _ARCHIVE_ERRORS as error:
        raise UserError(f"the archive cannot be read: {shown(str(error))}") from None
    return _sheet_table(stack, stream, columns, sheet, size_bytes_max)


def _sheet_table(
    stack: ExitStack,
    stream: BinaryIO,
    columns: ColumnNames,
    sheet: str | None,
    size_bytes_max: int,
) -> Table:
    workbook = stack.enter_context(open_workbook(stream, size_bytes_max))
    names = [_named(sheet, workbook.sheets)] if sheet is not None else workbook.sheets
    heads = {name: workbook.head(name, HEAD_LINES) for name in names}
    heads = {name: head for name, head in heads.items() if head}
    if not heads:
        raise UserError(
            "the workbook has no cells" if sheet is None else f"sheet {sheet!r} is empty"
        )
    headed = _with_header(heads, columns)
    if headed:
        (name, header), *others = headed.items()
        below = islice(workbook.records(name), header.position + 1, None)
        table = table_of("XLSX", name, None, None, header, below)
        return beside(table, [other for other, _ in others])
    name, head = next(iter(heads.items()))
    if len(heads) > 1:
        raise UserError(
            f"no sheet has a column of keywords: {listed(list(heads))}; choose one with --sheet"
        )
    if columns.keyword is not None or any(
        isinstance(row, BrokenLine) or len(row) > 1 for _, row in head
    ):
        raise missing_header(head, columns)
    return table_of("XLSX", name, None, None, None, workbook.records(name))


def _with_header(heads: Mapping[str, Sequence[Record]], columns: ColumnNames) -> dict[str, Header]:
    """The sheets that have a column of keywords. Faults count in the first of them only."""
    found: dict[str, Header] = {}
    for name, head in heads.items():
        try:
            header = find_header(head, columns)
        except UserError:
            if not found:
                raise
            continue
        if header is not None:
            found[name] = header
    return found


def _archived_text(
    stack: ExitStack,
    archive: ZipFile,
    columns: ColumnNames,
    sheet: str | None,
    encoding: str | None,
    size_bytes_max: int,
) -> Table:
    """The file of an archive that has keywords: Search Console's has pages and countries too."""
    parts = [
        each
        for each in archive.infolist()
        if each.filename.lower().endswith(_TEXT_FILES) and not each.filename.startswith(_MAC_FOLDER)
    ]
    if not parts or len(parts) > ARCHIVE_FILES_MAX:
        raise UserError(
            f"the archive has {len(parts)} text files ({', '.join(_TEXT_FILES)}), not 1 to"
            f" {ARCHIVE_FILES_MAX}"
        )
    names = [part.filename for part in parts]
    if sheet is not None:
        wanted = _named(sheet, names)
        parts = [part for part in parts if part.filename == wanted]
    tables: list[Table] = []
    refused: list[UserError] = []
    size = 0
    for part in parts:
        # The stack closes it, when the table has been read.
        unpacked = stack.enter_context(SpooledTemporaryFile(_MEMORY_BYTES_MAX))  # noqa: SIM115
        with archive.open(part) as content:
            while block := content.read(1_000_000):
                size += len(block)
                if size > size_bytes_max:
                    raise UserError(f"the archive unpacks to over {size_bytes_max} bytes")
                unpacked.write(block)
        unpacked.seek(0)
        try:
            tables.append(_text_table(cast(BinaryIO, unpacked), columns, encoding, part.filename))
        except UserError as error:
            refused.append(error)
    headed = [table for table in tables if table.layout.header_line is not None]
    if headed or len(tables) == len(parts) == 1:
        return beside((headed or tables)[0], [each.layout.part or "" for each in headed[1:]])
    if len(parts) == 1:
        raise UserError(f"{parts[0].filename}: {refused[0]}")
    raise UserError(f"no file has a column of keywords: {listed(names)}; choose one with --sheet")


def _named(sheet: str, names: list[str]) -> str:
    wanted = sheet.strip().casefold()
    for name in names:
        base = name.rpartition("/")[2].casefold()
        if wanted in (name.casefold(), base, base.rpartition(".")[0]):
            return name
    raise UserError(f"--sheet {sheet!r}: there is {listed(names)}")
