"""Opens a keyword file in any of its formats, and yields its keywords.

Promise: a bad line is reported with its number and value, and the other lines stay valid. The whole
file is refused (``UserError``) only if it has no readable table or exceeds a limit. Text is read in
blocks, so its length costs no memory but the set that detects duplicates: about 110 bytes a row.

Formats: text with or without a header, in any encoding (``encodings``), delimited by ``,``, ``;``,
tab or ``|``; a plain list, one keyword a line; an Excel workbook; a zip archive of text files, as
Search Console makes them.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import BinaryIO

from serpline.analysis.market_names import MarketNames
from serpline.domain.errors import UserError
from serpline.domain.keywords import (
    KeywordRow,
    keyword_key,
    keyword_problem,
    normal_keyword,
    read_tags,
    shown,
    union_tags,
)
from serpline.domain.markets import Market
from serpline.domain.text import visible
from serpline.imports.delimited import BrokenLine
from serpline.imports.google_ads import is_total, without_notation, without_sign
from serpline.imports.headers import USUAL_COLUMNS, ColumnNames
from serpline.imports.layout import Layout, Table
from serpline.imports.tables import ROWS_MAX, SIZE_BYTES_MAX, open_table
from serpline.imports.workbooks import sheet_problem

PROBLEMS_SHOWN_MAX = 10
COLUMNS_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class LineProblem:
    """Why a line was refused. ``message`` names the value. The other texts are the line's."""

    line: int
    message: str
    keyword: str = ""
    market: str = ""
    tags: str = ""

    def __str__(self) -> str:
        """``line 7: …``."""
        return f"line {self.line}: {self.message}"


@dataclass(slots=True)
class KeywordReport:
    """Counts and problems of a file, filled while its rows are read.

    ``line_count``: records below the header, summary lines included. These are totals, and headers
    that are repeated in files put together. ``row_count``: pairs of keyword and market, each once.
    ``problems`` has the first ten refused lines, ``problem_count`` counts all, and ``refuse`` gets
    each.
    """

    line_count: int = 0
    row_count: int = 0
    duplicate_count: int = 0
    summary_line_count: int = 0
    problem_count: int = 0
    problems: list[LineProblem] = field(default_factory=list)
    refuse: Callable[[LineProblem], None] | None = None

    def add(self, problem: LineProblem) -> None:
        """Count a problem, and store it if it is one of the first ten."""
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_SHOWN_MAX:
            self.problems.append(problem)
        if self.refuse is not None:
            self.refuse(problem)

    def summary(self) -> str:
        """The stored problems in one line, and how many more there are; empty without problems."""
        text = "; ".join(str(problem) for problem in self.problems)
        hidden = self.problem_count - len(self.problems)
        return f"{text}; and {hidden} more" if hidden else text


@dataclass(frozen=True, slots=True)
class Options:
    """How to read a file. ``sheet``: a workbook's sheet or an archive's file; None: found.

    ``markets``: the markets of lines that name none. ``needs_market``: whether a line without any
    is refused; if not, its row has the market "".
    """

    sheet: str | None = None
    encoding: str | None = None
    columns: ColumnNames = USUAL_COLUMNS
    markets: tuple[str, ...] = ()
    needs_market: bool = True
    rows_max: int = ROWS_MAX
    size_bytes_max: int = SIZE_BYTES_MAX


class KeywordFile:
    """An open file: what was understood of it (``layout``), and its rows, once."""

    def __init__(
        self, table: Table, options: Options, known: Mapping[str, Market] | None = None
    ) -> None:
        self.layout: Layout = table.layout
        self._table = table
        self._options = options
        self._names = MarketNames(known)
        self._markets = tuple(dict.fromkeys(map(self._given, options.markets)))
        if options.needs_market and table.header.market is None and not self._markets:
            raise UserError(
                f"{self._columns()}: no column of markets: give the market of all lines with"
                " --market, such as --market US"
            )

    def rows(self, report: KeywordReport) -> Iterator[KeywordRow]:
        """Yield the valid rows one by one and fill ``report``. A line has a row for each market.

        A duplicate (same key and market) is counted. It is yielded again only if it has tags, so
        that an upsert adds them. Raises ``UserError`` for a file over its limit of lines.
        """
        # Digests take about 110 bytes a row of any length, so 5 million rows fit.
        seen: set[bytes] = set()
        for number, fields in self._table.records:
            report.line_count += 1
            if report.line_count > self._options.rows_max:
                raise UserError(
                    f"line {number}: more than {self._options.rows_max} rows; split the file"
                )
            if not isinstance(fields, BrokenLine) and self._is_summary(fields):
                report.summary_line_count += 1
                continue
            found = self._rows_of(number, fields)
            if isinstance(found, LineProblem):
                report.add(found)
                continue
            for row in found:
                mark = hashlib.blake2b(f"{row.market}\n{row.key}".encode(), digest_size=16).digest()
                if mark not in seen:
                    seen.add(mark)
                    report.row_count += 1
                    yield row
                else:
                    report.duplicate_count += 1
                    if row.tags:
                        yield row

    def _rows_of(
        self, number: int, fields: list[str] | BrokenLine
    ) -> list[KeywordRow] | LineProblem:
        header = self._table.header
        if isinstance(fields, BrokenLine):
            return LineProblem(number, fields.message, fields.text)
        if len(fields) > len(header.names):
            return LineProblem(
                number,
                f"{len(fields)} fields where the header has {len(header.names)}: quote a value that"
                f" contains {self.layout.delimiter!r} ({shown(fields[0])})",
                (self.layout.delimiter or " ").join(fields),
            )
        given = [*fields, *[""] * (len(header.names) - len(fields))]
        raw = given[header.keyword]
        market = given[header.market] if header.market is not None else ""
        cell = given[header.tags] if header.tags is not None else ""
        refused = LineProblem(number, "", raw, market, cell)
        changed = sheet_problem(raw)
        if header.match_type is not None:
            raw, cell = without_notation(raw), without_sign(cell)
            # Mended and imported again, the line has no match type any more.
            refused = replace(refused, keyword=raw, tags=cell)
        if problem := changed or keyword_problem(raw):
            return replace(refused, message=problem)
        codes = self._codes(market, normal_keyword(raw))
        if isinstance(codes, str):
            return replace(refused, message=codes)
        tags = read_tags(cell)
        if isinstance(tags, str):
            return replace(refused, message=tags)
        keyword = normal_keyword(raw)
        key = keyword_key(keyword)
        return [KeywordRow(number, keyword, key, code, tags) for code in codes]

    def _codes(self, text: str, keyword: str) -> Sequence[str] | str:
        """The markets of a line, or their problem."""
        if text.strip():
            found = self._names.find(text)
            return found if isinstance(found, str) else (found.code,)
        if self._markets:
            return self._markets
        return (
            ("",) if not self._options.needs_market else f"no market for keyword {shown(keyword)}"
        )

    def _is_summary(self, fields: Sequence[str]) -> bool:
        """Totals, which only reports of advertising have: elsewhere "total: war" is a keyword.

        And the header again. In a list it may be a keyword.
        """
        header = self._table.header
        if header.match_type is not None and is_total(fields[0]):
            return True
        return (
            len(fields) == len(header.names) > 1
            and fields[-1].strip() == header.names[-1]
            and tuple(visible(field).strip() for field in fields) == header.names
        )

    def _given(self, market: str) -> str:
        try:
            return self._names.get(market).code
        except UserError as error:
            raise UserError(f"--market: {error}") from None

    def _columns(self) -> str:
        names = self._table.header.names
        if not self.layout.header_line:
            return "a plain list"
        some = ", ".join(map(shown, names[:COLUMNS_SHOWN_MAX]))
        more = ", …" if len(names) > COLUMNS_SHOWN_MAX else ""
        return f"line {self.layout.header_line}: columns {some}{more}"


@contextmanager
def open_keywords(
    source: bytes | BinaryIO,
    options: Options | None = None,
    known: Mapping[str, Market] | None = None,
) -> Iterator[KeywordFile]:
    """Open a keyword file, which can be rewound. ``known``: the project's markets by code.

    Raises ``UserError`` if it has no readable table, or no market and none is given.
    """
    given = options or Options()
    stream = BytesIO(source) if isinstance(source, bytes) else source
    with open_table(
        stream, given.columns, given.sheet, given.encoding, size_bytes_max=given.size_bytes_max
    ) as table:
        yield KeywordFile(table, given, known)


@dataclass(frozen=True, slots=True)
class ParsedKeywords:
    """A whole file: its valid rows and the problems of the others."""

    rows: tuple[KeywordRow, ...]
    report: KeywordReport

    @property
    def problems(self) -> tuple[LineProblem, ...]:
        """The first ten problems; ``report.problem_count`` counts all."""
        return tuple(self.report.problems)

    def require_clean(self) -> "ParsedKeywords":
        """Return itself, or raise a ``UserError`` with up to ten problems."""
        if self.report.problem_count:
            raise UserError(self.report.summary())
        return self


def parse_keywords(
    source: bytes | BinaryIO,
    known: Mapping[str, Market] | None = None,
    options: Options | None = None,
) -> ParsedKeywords:
    """Read a whole file into memory. A duplicate's tags are added to the first row's.

    Raises the errors of ``open_keywords`` and ``KeywordFile.rows``.
    """
    report = KeywordReport()
    with open_keywords(source, options, known) as file:
        return ParsedKeywords(tuple(merge_duplicates(file.rows(report))), report)


def merge_duplicates(rows: Iterator[KeywordRow] | Sequence[KeywordRow]) -> list[KeywordRow]:
    """Merge rows of the same pair; the first gets the tags of all."""
    merged: dict[tuple[str, str], KeywordRow] = {}
    for row in rows:
        first = merged.setdefault((row.key, row.market), row)
        if first is not row:
            tags = union_tags(first.tags, row.tags)
            merged[row.key, row.market] = replace(first, tags=tags)
    return list(merged.values())
