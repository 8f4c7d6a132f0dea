"""Keywords from a file or from a list, in one transaction."""

import csv
import io
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from serpline.config.model import read_value
from serpline.config.values import NAME
from serpline.domain.errors import UserError
from serpline.imports.reading import KeywordReport, Options, merge_duplicates, open_keywords
from serpline.library.states import Imported
from serpline.store import projects
from serpline.store.database import Database

ROWS_PER_STATEMENT = 5_000


async def import_keywords(
    database: Database,
    source: str | Path | Iterable[str],
    markets: tuple[str, ...],
    landscape: str | None,
    *,
    skip_bad_lines: bool,
) -> Imported:
    """Import a file, or a list of keywords. Raises ``UserError`` and imports nothing otherwise."""
    if landscape is not None:
        landscape = read_value(NAME, "landscape", landscape)
    is_file = isinstance(source, str | Path)
    report, new = KeywordReport(), Counter[str]()
    options = Options(markets=markets if is_file else ())
    async with database.transaction() as conn:
        await projects.ensure_builtin_markets(conn)
        known = await projects.markets(conn)
    # Opening reads the whole file, which may take longer than a transaction may be idle.
    with _opened(source, markets) as stream, open_keywords(stream, options, known) as file:
        async with database.transaction() as conn:
            rows = file.rows(report)
            while part := list(islice(rows, ROWS_PER_STATEMENT)):
                found = await projects.import_pairs(conn, merge_duplicates(part), landscape)
                new.update(found)
            if report.problem_count and not skip_bad_lines:
                # Raised inside the transaction, which rolls back.
                raise UserError(report.summary())
    return Imported(
        pairs=report.row_count,
        new=new.total(),
        duplicates=report.duplicate_count,
        problem_count=report.problem_count,
        problems=tuple(map(str, report.problems)),
        notes=file.layout.notes,
    )


def _opened(
    source: str | Path | Iterable[str], markets: tuple[str, ...]
) -> AbstractContextManager[BinaryIO]:
    if isinstance(source, str | Path):
        try:
            return Path(source).open("rb")
        except OSError as error:
            raise UserError(f"{source}: {error.strerror or error}") from None
    if not markets:
        raise UserError("market: a list of keywords needs one or several")
    lines = io.StringIO()
    table = csv.writer(lines)
    table.writerow(["keyword", "market"])
    table.writerows([keyword, market] for keyword in source for market in markets)
    return io.BytesIO(lines.getvalue().encode())
