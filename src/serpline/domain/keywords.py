"""Keyword lists: from the bytes of a CSV file ``keyword,market,tags`` to rows.

Promise: the file is read line by line. Its length costs no memory except the set that detects
duplicates. A bad line is reported with its number and value, and the other lines stay valid. The
whole file is refused (``UserError``) only if it is not UTF-8, has no usable header or exceeds a
limit.

Format: UTF-8 with or without a byte order mark; any line end; ``,``, ``;`` or tab as the delimiter,
detected from the header; double quotes. Excel's first line ``sep=;``, empty fields at a line's end
and lines of nothing else are skipped. Columns come in any order, ``tags`` may be missing, other
columns are ignored. Tags are separated by ``;`` or ``|``. A row with line breaks in a quoted field
has the number of its first line. A keyword or tag with a line break is refused.

A keyword is stored and shown as written, except for Unicode NFC and single spaces. It is searched
without invisible characters (``searched``). Two keywords are equal, and bought once, if their
searches are equal after case folding and without variation selectors. NFC and not NFKC, because
compatibility forms are other words ("x²" is not "x2", "①" is not "1"). Limits: 200 characters and
32 words, because Google ignores words after the 32nd. Longer keywords are rejected and not cut,
because a cut keyword is another keyword.
"""

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import BinaryIO

from serpline.domain.errors import UserError
from serpline.domain.keyword_lines import Header, numbered_lines, read_header, records, shown
from serpline.domain.markets import Market, find_market
from serpline.domain.text import visible, without_variants

CHARACTERS_MAX = 200
WORDS_MAX = 32
TAGS_MAX = 20
TAG_CHARACTERS_MAX = 64
PROBLEMS_SHOWN_MAX = 10
ROWS_MAX = 5_000_000
SIZE_BYTES_MAX = 1_000_000_000


@dataclass(frozen=True, slots=True)
class KeywordRow:
    """One valid line. ``keyword`` is for people and searches, ``key`` for equality; both in NFC.

    ``market`` is the market's stored code. ``line`` counts from 1, including the header.
    """

    line: int
    keyword: str
    key: str
    market: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LineProblem:
    """Why a line was skipped. ``message`` names the value."""

    line: int
    message: str

    def __str__(self) -> str:
        """``line 7: …``."""
        return f"line {self.line}: {self.message}"


@dataclass(slots=True)
class KeywordReport:
    """Counts and problems of a file, filled while ``iter_keywords`` runs.

    ``problems`` has the first ten, ``problem_count`` counts all.
    """

    row_count: int = 0
    duplicate_count: int = 0
    problem_count: int = 0
    problems: list[LineProblem] = field(default_factory=list)

    def add(self, line: int, message: str) -> None:
        """Count a problem, and store it if it is one of the first ten."""
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_SHOWN_MAX:
            self.problems.append(LineProblem(line, message))

    def summary(self) -> str:
        """The stored problems in one line, and how many more there are; empty without problems."""
        text = "; ".join(str(problem) for problem in self.problems)
        hidden = self.problem_count - len(self.problems)
        return f"{text}; and {hidden} more" if hidden else text


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


def keyword_key(keyword: str) -> str:
    """The key that equal keywords share: as searched, case folded, without variation selectors."""
    return _key(searched(keyword))


def normal_keyword(keyword: str) -> str:
    """The keyword as stored: NFC, stripped, inner space collapsed."""
    return " ".join(unicodedata.normalize("NFC", keyword).split())


def searched(keyword: str) -> str:
    """The keyword as sent to providers: its visible characters."""
    return normal_keyword(visible(keyword))


def parse_keywords(
    source: bytes | BinaryIO, markets: Mapping[str, Market] | None = None, **limits: int
) -> ParsedKeywords:
    """Read a whole list into memory. A duplicate's tags are added to the first row's.

    ``markets``: the known markets by code; default: the built-in ones. ``limits``: ``rows_max`` and
    ``size_bytes_max`` of ``iter_keywords``. Raises its errors.
    """
    report = KeywordReport()
    rows: dict[tuple[str, str], KeywordRow] = {}
    for row in iter_keywords(source, report, markets, **limits):
        identity = (row.key, row.market)
        first = rows.get(identity)
        rows[identity] = replace(first, tags=_union(first.tags, row.tags)) if first else row
    return ParsedKeywords(tuple(rows.values()), report)


def iter_keywords(
    source: bytes | BinaryIO,
    report: KeywordReport,
    markets: Mapping[str, Market] | None = None,
    *,
    rows_max: int = ROWS_MAX,
    size_bytes_max: int = SIZE_BYTES_MAX,
) -> Iterator[KeywordRow]:
    """Yield the valid rows one by one and fill ``report``.

    A duplicate (same key and market) is counted. It is yielded again only if it has tags, so that
    an upsert adds them. ``rows_max`` bounds the lines after the header, ``size_bytes_max`` the
    file. Raises ``UserError`` when the whole file is unusable or over a limit.
    """
    stream = BytesIO(source) if isinstance(source, bytes) else source
    lines = numbered_lines(stream, size_bytes_max)
    header = read_header(lines)
    # Digests take about 110 bytes a row of any length, so 5 million rows fit.
    seen: set[bytes] = set()
    for number, fields in records(lines, header.delimiter):
        if isinstance(fields, str):
            report.add(number, fields)
            continue
        if report.row_count + report.problem_count + report.duplicate_count >= rows_max:
            raise UserError(f"line {number}: more than {rows_max} rows; split the file")
        parsed = _row(number, fields, header, markets)
        if isinstance(parsed, str):
            report.add(number, parsed)
            continue
        mark = hashlib.blake2b(f"{parsed.market}\n{parsed.key}".encode(), digest_size=16).digest()
        if mark in seen:
            report.duplicate_count += 1
            if parsed.tags:
                yield parsed
            continue
        seen.add(mark)
        report.row_count += 1
        yield parsed


def _key(search: str) -> str:
    # Folding is defined on decomposed text (Unicode, canonical caseless matching).
    decomposed = unicodedata.normalize("NFD", without_variants(search))
    return " ".join(unicodedata.normalize("NFC", decomposed.casefold()).split())


def _row(
    number: int, fields: list[str], header: Header, markets: Mapping[str, Market] | None
) -> KeywordRow | str:
    """The row, or its problem."""
    if len(fields) > header.width:
        return (
            f"{len(fields)} fields where the header has {header.width}: "
            f"quote a value that contains {header.delimiter!r} ({shown(fields[0])})"
        )
    given = [*fields, *[""] * (header.width - len(fields))]
    raw = given[header.keyword]
    keyword = normal_keyword(raw)
    problem = _keyword_problem(raw, keyword)
    if problem:
        return problem
    code = visible(given[header.market])
    if not code.strip():
        return f"no market for keyword {shown(keyword)}"
    market = find_market(code, markets)
    if market is None:
        return f"unknown market {shown(code)}: give a code such as US, GB or DE"
    tags = _tags(given[header.tags]) if header.tags is not None else ()
    if isinstance(tags, str):
        return tags
    return KeywordRow(number, keyword, keyword_key(keyword), market.code, tags)


def _keyword_problem(raw: str, normal: str) -> str | None:
    if "\n" in raw:
        return f"line break in keyword {shown(raw)}"
    if _has_control(raw):
        return f"control character in keyword {shown(raw)}"
    # A keyword of zero-width characters alone is invisible.
    seen = searched(normal)
    if all(unicodedata.category(character) in ("Cf", "Mn") for character in seen):
        return "empty keyword"
    if len(normal) > CHARACTERS_MAX:
        return f"keyword of {len(normal)} characters, over {CHARACTERS_MAX}: {shown(normal)}"
    words = seen.count(" ") + 1
    if words > WORDS_MAX:
        return f"keyword of {words} words, over {WORDS_MAX}: {shown(normal)}"
    return None


def _tags(cell: str) -> tuple[str, ...] | str:
    """The distinct tags, or their problem."""
    if "\n" in cell:
        return f"line break in tags {shown(cell)}"
    if _has_control(cell):
        return f"control character in tags {shown(cell)}"
    given = (searched(tag) for tag in cell.replace("|", ";").split(";"))
    tags = _union((), tuple(tag for tag in given if tag))
    if len(tags) > TAGS_MAX:
        return f"{len(tags)} tags, over {TAGS_MAX}: {shown(cell)}"
    for tag in tags:
        if len(tag) > TAG_CHARACTERS_MAX:
            return f"tag of {len(tag)} characters, over {TAG_CHARACTERS_MAX}: {shown(tag)}"
    return tags


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """All tags in order. Of tags that differ in case only, the first."""
    unique: dict[str, str] = {}
    for tag in (*first, *second):
        unique.setdefault(tag.casefold(), tag)
    return tuple(unique.values())


def _has_control(text: str) -> bool:
    return not text.isprintable() and any(unicodedata.category(c) == "Cc" for c in text)
