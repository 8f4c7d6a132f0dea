"""Keyword files of the command line: opening them, what was understood, refused lines."""

import csv
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from io import TextIOWrapper
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

import typer

from serpline.cli.common import STDIN, file_error, print_message, shown_path
from serpline.cli.tables import show_table
from serpline.core.escaping import terminal_text
from serpline.core.new_file import NewFile
from serpline.domain.errors import UserError
from serpline.imports.layout import Layout, listed
from serpline.imports.reading import KeywordReport, LineProblem
from serpline.imports.tables import SIZE_BYTES_MAX

EXAMPLES_MAX = 5
_MEMORY_BYTES_MAX = 8_000_000
_DELIMITERS = {"\t": "tab"}


@dataclass(slots=True)
class Imported:
    """What an import found and did. Pairs are counted by market."""

    layout: Layout
    report: KeywordReport
    new: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add_example(self, keyword: str) -> None:
        """Keep the first keywords; if the encoding is a guess, those that show whether it fits."""
        fits = not self.layout.encoding_guessed or not keyword.isascii()
        if fits and len(self.examples) < EXAMPLES_MAX and keyword not in self.examples:
            self.examples.append(keyword)


@contextmanager
def opened_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file, or stdin (``-``), so that it can be rewound. Errors name the file."""
    try:
        with ExitStack() as stack:
            source: BinaryIO = sys.stdin.buffer
            if path != STDIN:
                source = stack.enter_context(path.open("rb"))
                if source.seekable():
                    yield source
                    return
            # Of stdin, and of a pipe such as <(command).
            spooled = stack.enter_context(SpooledTemporaryFile(_MEMORY_BYTES_MAX))
            size = 0
            while block := source.read(1_000_000):
                size += len(block)
                if size > SIZE_BYTES_MAX:
                    raise UserError(f"more than {SIZE_BYTES_MAX} bytes; split it")
                spooled.write(block)
            spooled.seek(0)
            yield cast(BinaryIO, spooled)
    except OSError as error:
        raise file_error(path, error) from None
    except UserError as error:
        named = shown_path(path)
        raise UserError(str(error) if named in str(error) else f"{named}: {error}") from None


class RefusedLines:
    """A CSV of refused lines with their reasons. Without any, there is no file.

    It has a byte order mark, so that Excel reads it as UTF-8. Mended, it can be imported: the
    columns ``line`` and ``reason`` are ignored.
    """

    def __init__(self, path: Path) -> None:
        """Raises ``UserError`` if the file exists or cannot be made."""
        self._path = path
        try:
            self._new = NewFile(path)
        except FileExistsError:
            raise UserError(f"--refused {path}: exists already; name another file") from None
        except OSError as error:
            raise file_error(path, error) from None
        self._text = TextIOWrapper(self._new.file, encoding="utf-8-sig", newline="")
        self._rows = csv.writer(self._text)
        self._rows.writerow(["keyword", "market", "tags", "line", "reason"])

    def write(self, problem: LineProblem) -> None:
        """Add a line."""
        self._rows.writerow(
            [problem.keyword, problem.market, problem.tags, problem.line, problem.message]
        )

    def commit(self) -> None:
        """Make the file appear. Raises ``UserError`` if it cannot."""
        try:
            self._text.flush()
            self._new.commit()
        except OSError as error:
            raise file_error(self._path, error) from None

    def abort(self) -> None:
        """Remove an unfinished file."""
        self._new.abort()


def imported_document(done: Imported, *, is_dry: bool, refused: Path | None) -> dict[str, Any]:
    """The result of an import for ``--json``."""
    report = done.report
    return {
        "dry_run": is_dry,
        "new": done.new.total(),
        "known": done.known.total(),
        "rows": report.row_count,
        "lines": report.line_count,
        "duplicates": report.duplicate_count,
        "summary_lines": report.summary_line_count,
        "markets": {
            market: {"new": done.new[market], "known": done.known[market]}
            for market in sorted(done.new | done.known)
        },
        "layout": asdict(done.layout),
        "examples": done.examples,
        "problems": [asdict(problem) for problem in report.problems],
        "problem_count": report.problem_count,
        "refused": str(refused) if refused and report.problem_count else None,
    }


def show_imported(done: Imported, path: Path, *, is_dry: bool, refused: Path | None) -> None:
    """Print what an import found and did; a dry run in tables."""
    report = done.report
    if is_dry:
        show_table(["understood", "as"], list(_understood(done, path)))
        markets = sorted(done.new | done.known)
        if markets:
            typer.echo()
            rows = [[m, done.new[m], done.known[m]] for m in markets]
            show_table(["market", "new pairs", "known pairs"], rows)
        if report.problems:
            typer.echo()
            show_table(["line", "refused because"], [[p.line, p.message] for p in report.problems])
        typer.echo()
    elif done.layout.ignored:
        names = ", ".join(map(repr, done.layout.ignored[:10]))
        more = len(done.layout.ignored) - 10
        print_message(f"columns ignored: {names}" + (f" and {more} more" if more > 0 else ""))
    if done.layout.others:
        print_message(
            f"{done.layout.part!r} is the first with keywords; not read:"
            f" {listed(done.layout.others)} (--sheet chooses)"
        )
    if done.layout.encoding_guessed and not is_dry:
        example = f", such as {done.examples[0]!r}" if done.examples else ""
        print_message(
            f"encoding {done.layout.encoding} is a guess{example}: if it is wrong, remove the"
            " keywords and import with --encoding"
        )
    typer.echo(
        terminal_text(
            f"{report.row_count} pairs read: {done.new.total()} new, {done.known.total()} known,"
            f" {report.duplicate_count} duplicates in the file,"
            f" {report.problem_count} lines refused"
        )
    )
    if refused and report.problem_count:
        typer.echo(terminal_text(f"refused lines are in {refused}: mend and import them"))
    if is_dry:
        typer.echo("nothing was imported")


def _understood(done: Imported, path: Path) -> Iterator[list[str]]:
    layout, report = done.layout, done.report
    yield ["file", shown_path(path)]
    yield ["format", "a list, one keyword a line" if layout.format == "list" else layout.format]
    if layout.part:
        yield ["sheet" if layout.format == "XLSX" else "file in the archive", layout.part]
    if layout.encoding:
        guess = " (a guess; --encoding sets it)" if layout.encoding_guessed else ""
        yield ["encoding", f"{layout.encoding}{guess}"]
    if layout.format == "CSV":
        yield ["delimiter", _DELIMITERS.get(delimiter := layout.delimiter or "", delimiter)]
    if layout.header_line:
        above = f", lines above it skipped: {layout.lines_before}" if layout.lines_before else ""
        yield ["header", f"line {layout.header_line}{above}"]
        yield ["keywords from", repr(layout.keyword)]
        yield ["markets from", repr(layout.market) if layout.market else "--market"]
        yield ["tags from", repr(layout.tags) if layout.tags else "none"]
        yield ["columns ignored", ", ".join(map(repr, layout.ignored)) or "none"]
    else:
        yield ["header", "none: every line is a keyword"]
    yield ["lines", str(report.line_count)]
    if report.summary_line_count:
        yield ["totals and repeated headers skipped", str(report.summary_line_count)]
    yield ["lines refused", str(report.problem_count)]
    yield ["duplicates in the file", str(report.duplicate_count)]
    yield ["such as", "; ".join(done.examples) or "none"]
