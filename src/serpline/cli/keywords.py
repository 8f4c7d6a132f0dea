"""``serpline keywords import``; ``keyword_sets`` has the other commands of keywords."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serpline.cli.common import (
    JsonFlag,
    print_json,
    print_message,
    require_utf8,
    run,
    services,
    shown_path,
)
from serpline.domain.errors import UserError

if TYPE_CHECKING:
    from serpline.app.services import Services
    from serpline.cli.keyword_files import Imported, RefusedLines
    from serpline.domain.keywords import KeywordRow
    from serpline.imports.reading import KeywordFile, Options
    from serpline.store.database import Connection

app = typer.Typer(help="Import, list, tag and remove keywords.", no_args_is_help=True)

ROWS_PER_STATEMENT = 5_000

SheetOption = Annotated[
    str | None,
    typer.Option(
        callback=require_utf8,
        help="Sheet of a workbook or file of an archive. Default: the first with keywords.",
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(callback=require_utf8, help="Encoding, such as cp1252. Default: found."),
]
KeywordColumnOption = Annotated[
    str | None, typer.Option(callback=require_utf8, help="Name of the column of keywords.")
]
MarketColumnOption = Annotated[
    str | None, typer.Option(callback=require_utf8, help="Name of the column of markets.")
]


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV, Excel workbook, plain list, or archive of CSV files; - is stdin."
        ),
    ],
    market: Annotated[
        list[str] | None,
        typer.Option(help="Market of lines that name none: code, country or en-US. Repeatable."),
    ] = None,
    landscape: Annotated[
        str | None,
        typer.Option(
            callback=require_utf8, help="Add them to this landscape (a named set of keywords)."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what was understood; import nothing.")
    ] = False,
    refused: Annotated[
        Path | None,
        typer.Option(
            help="Import valid lines; write the others with the reason to this new CSV file."
        ),
    ] = None,
    skip_bad_lines: Annotated[
        bool, typer.Option("--skip-bad-lines", help="Import valid lines and report the others.")
    ] = False,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    keyword_column: KeywordColumnOption = None,
    market_column: MarketColumnOption = None,
    tags_column: Annotated[
        str | None, typer.Option(callback=require_utf8, help="Name of the column of tags.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Import keyword × market pairs. A bad line refuses the whole file.

    Reads exports of Google, Ahrefs, Semrush and other tools as they are.
    """
    from serpline.cli.keyword_files import RefusedLines, imported_document, show_imported
    from serpline.imports.headers import ColumnNames
    from serpline.imports.reading import Options

    options = Options(
        sheet=sheet,
        encoding=encoding,
        columns=ColumnNames(keyword_column, market_column, tags_column),
        markets=tuple(market or ()),
    )
    lines = RefusedLines(refused) if refused else None

    async def import_all() -> "Imported":
        async with services(ctx) as opened:
            return await import_file(
                opened,
                file,
                landscape,
                options,
                skip_bad_lines=skip_bad_lines or refused is not None,
                is_dry=dry_run,
                refused=lines,
            )

    try:
        done = run(import_all())
        if lines and done.report.problem_count:
            lines.commit()
    finally:
        if lines:
            lines.abort()
    report = done.report
    if as_json:
        print_json(imported_document(done, is_dry=dry_run, refused=refused))
        return
    if report.problem_count and not dry_run and not refused:
        print_message(
            f"{shown_path(file)}: {report.problem_count} lines skipped: {report.summary()}"
        )
    show_imported(done, file, is_dry=dry_run, refused=refused)


async def import_file(
    opened: "Services",
    path: Path,
    landscape: str | None = None,
    options: "Options | None" = None,
    *,
    skip_bad_lines: bool = False,
    is_dry: bool = False,
    refused: "RefusedLines | None" = None,
) -> "Imported":
    """Import a file in one transaction; ``is_dry``: count only.

    Raises ``UserError`` and imports nothing for an unreadable file and, unless ``skip_bad_lines``
    or ``is_dry``, for any bad line.
    """
    from serpline.cli.keyword_files import Imported, opened_file
    from serpline.config.model import read_value
    from serpline.config.values import NAME
    from serpline.imports.reading import KeywordReport, open_keywords
    from serpline.store import projects

    if landscape is not None:
        landscape = read_value(NAME, "--landscape", landscape)
    report = KeywordReport(refuse=refused.write if refused else None)
    async with opened.database.transaction() as conn:
        await projects.ensure_builtin_markets(conn)
        known = await projects.markets(conn)
    # Opening reads the whole file, which may take longer than a transaction may be idle.
    with opened_file(path) as stream, open_keywords(stream, options, known) as file:
        done = Imported(file.layout, report)
        async with opened.database.transaction() as conn:
            await _import_rows(conn, file, done, landscape, is_dry=is_dry)
            if report.problem_count and not skip_bad_lines and not is_dry:
                # Raised inside the transaction, which rolls back.
                raise UserError(report.summary())
    return done


async def _import_rows(
    conn: "Connection",
    file: "KeywordFile",
    done: "Imported",
    landscape: str | None,
    *,
    is_dry: bool,
) -> None:
    from serpline.imports.reading import merge_duplicates
    from serpline.store import projects

    part: list[KeywordRow] = []
    firsts: Counter[str] = Counter()

    async def flush() -> None:
        rows = merge_duplicates(part)
        if is_dry:
            done.known.update(await projects.known_pairs(conn, rows))
        else:
            done.new.update(await projects.import_pairs(conn, rows, landscape))
        part.clear()

    seen = 0
    for row in file.rows(done.report):
        is_first, seen = done.report.row_count > seen, done.report.row_count
        if is_first:
            firsts[row.market] += 1
            done.add_example(row.keyword)
        if is_first or not is_dry:
            part.append(row)
        if len(part) >= ROWS_PER_STATEMENT:
            await flush()
    await flush()
    if is_dry:
        done.new = firsts - done.known
    else:
        done.known = firsts - done.new
