"""``serpline keywords import|list``."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serpline.cli.common import (
    JsonFlag,
    file_error,
    print_json,
    print_message,
    require_utf8,
    run,
    services,
)
from serpline.cli.tables import show_table
from serpline.domain.errors import UserError
from serpline.domain.keywords import KeywordReport, KeywordRow, iter_keywords

if TYPE_CHECKING:
    from serpline.app.services import Services

app = typer.Typer(help="Import and list keywords.", no_args_is_help=True)

ROWS_PER_STATEMENT = 5_000
LIMIT_MAX = 5_000_000


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV file with a header line: keyword,market,tags.")],
    landscape: Annotated[
        str | None,
        typer.Option(
            callback=require_utf8, help="Add them to this landscape (a named set of keywords)."
        ),
    ] = None,
    skip_bad_lines: Annotated[
        bool, typer.Option("--skip-bad-lines", help="Import valid lines and report the others.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Import keyword × market pairs. A bad line rejects the whole file."""

    async def import_all() -> tuple[int, KeywordReport]:
        async with services(ctx) as opened:
            return await import_file(opened, file, landscape, skip_bad_lines=skip_bad_lines)

    made, report = run(import_all())
    if report.problem_count:
        print_message(f"{file}: {report.problem_count} lines skipped: {report.summary()}")
    if as_json:
        print_json(
            {
                "new": made,
                "rows": report.row_count,
                "duplicates": report.duplicate_count,
                "problems": [{"line": p.line, "message": p.message} for p in report.problems],
                "problem_count": report.problem_count,
            }
        )
    else:
        typer.echo(
            f"{report.row_count} pairs read: {made} new,"
            f" {report.duplicate_count} duplicates in the file"
        )


async def import_file(
    opened: "Services", path: Path, landscape: str | None = None, *, skip_bad_lines: bool = False
) -> tuple[int, KeywordReport]:
    """Import a file in one transaction. Returns the number of new pairs, and a report.

    Raises ``UserError`` and imports nothing for an unreadable file and, unless ``skip_bad_lines``,
    for any bad line.
    """
    from serpline.config.model import read_value
    from serpline.config.values import NAME
    from serpline.store import projects

    if landscape is not None:
        landscape = read_value(NAME, "--landscape", landscape)
    report, made = KeywordReport(), 0
    try:
        with path.open("rb") as stream:
            async with opened.database.transaction() as conn:
                await projects.ensure_builtin_markets(conn)
                known = await projects.markets(conn)
                found = iter_keywords(stream, report, known)
                while part := list(islice(found, ROWS_PER_STATEMENT)):
                    made += await projects.import_keywords(conn, _merge_duplicates(part), landscape)
                if report.problem_count and not skip_bad_lines:
                    # Raised inside the transaction, which rolls back.
                    raise UserError(f"{path}: {report.summary()}")
    except OSError as error:
        raise file_error(path, error) from None
    except UserError as error:
        shown = str(error)
        raise UserError(shown if str(path) in shown else f"{path}: {shown}") from None
    return made, report


def _merge_duplicates(rows: list[KeywordRow]) -> list[KeywordRow]:
    """Merge rows of the same pair; the row gets the tags of all."""
    merged: dict[tuple[str, str], KeywordRow] = {}
    for row in rows:
        first = merged.setdefault((row.key, row.market), row)
        if first is not row:
            tags = tuple(dict.fromkeys((*first.tags, *row.tags)))
            merged[row.key, row.market] = replace(first, tags=tags)
    return list(merged.values())


@app.command("list")
def list_(
    ctx: typer.Context,
    limit: Annotated[
        int, typer.Option(min=1, max=LIMIT_MAX, help="Maximum number of pairs.")
    ] = 100,
    as_json: JsonFlag = False,
) -> None:
    """List keyword × market pairs in the order of import."""

    async def read() -> list[dict[str, Any]]:
        from serpline.store import projects

        async with services(ctx) as opened, opened.database.transaction() as conn:
            return await projects.list_keywords(conn, limit)

    found = run(read())
    if as_json:
        print_json(found)
    else:
        rows = [[r["id"], r["keyword"], r["market"], r["tags"]] for r in found]
        show_table(["id", "keyword", "market", "tags"], rows)
