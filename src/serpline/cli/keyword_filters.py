"""What the commands on keywords share: the options that choose pairs, the question, the end."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serpline.cli.common import (
    print_json,
    print_message,
    require_utf8,
    shown_path,
    split_list,
)
from serpline.core.escaping import terminal_text
from serpline.domain.errors import UserError

if TYPE_CHECKING:
    from serpline.domain.markets import Market
    from serpline.store.database import Connection
    from serpline.store.keyword_sets import KeywordFilter

KEYWORDS_MAX = 1_000_000

MarketsOption = Annotated[
    list[str] | None,
    typer.Option("--market", help="Only these markets: code, country or en-US. Repeatable."),
]
TagsOption = Annotated[
    list[str] | None,
    typer.Option("--tag", help="Only pairs with one of these tags. Repeatable."),
]
LandscapeOption = Annotated[
    str | None,
    typer.Option("--landscape", callback=require_utf8, help="Only keywords of this landscape."),
]
MatchOption = Annotated[
    list[str] | None,
    typer.Option(
        "--match",
        help="Only keywords like this, in any case: * is any text, ? one character. Repeatable.",
    ),
]
FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file",
        help="Only the keywords of this file, which is read as by import; - is stdin. Its markets"
        " count, if it names any.",
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="Instead of a filter: all keywords.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


async def read_filter(
    conn: "Connection",
    markets: list[str] | None,
    tags: list[str] | None,
    landscape: str | None,
    match: list[str] | None,
    file: Path | None,
) -> "KeywordFilter":
    """The filter of the options. Raises ``UserError`` for an unknown market or landscape."""
    from serpline.analysis.market_names import MarketNames
    from serpline.domain.text import composed
    from serpline.store import projects
    from serpline.store.keyword_sets import KeywordFilter

    await projects.ensure_builtin_markets(conn)
    known = await projects.markets(conn)
    names = MarketNames(known)
    name = None if landscape is None else composed(landscape)
    await projects.check_landscape(conn, name)
    return KeywordFilter(
        markets=tuple(dict.fromkeys(names.get(m).code for m in split_list(markets) or ())),
        tags=tuple(map(_stored, split_list(tags) or ())),
        landscape=name,
        patterns=tuple(_like(_stored(each)) for each in match or ()),
        pairs=None if file is None else _pairs_of(file, known),
    )


def require_filter(wanted: "KeywordFilter", *, is_all: bool) -> None:
    """Raise ``UserError`` if neither a filter nor ``--all`` is given, or both."""
    if wanted.is_empty and not is_all:
        raise UserError(
            "choose keywords with --market, --tag, --landscape, --match or --file, or give --all"
        )
    if is_all and not wanted.is_empty:
        raise UserError("--all: give a filter or --all, not both")


def confirm(question: str, *, is_agreed: bool) -> None:
    """Ask on a terminal; end without an effect unless the answer is yes.

    Raises ``UserError`` if nobody can be asked.
    """
    if is_agreed:
        return
    if not sys.stdin.isatty():
        raise UserError(f"{question} To do it without a question, give --yes")
    if not typer.confirm(question, err=True):
        print_message("nothing was changed")
        raise typer.Exit(1)


def _stored(text: str) -> str:
    require_utf8(text)
    return text


def _like(pattern: str) -> str:
    from serpline.domain.keywords import keyword_key

    folded = keyword_key(pattern)
    if not folded:
        raise UserError(f"--match {pattern!r}: give a keyword, or a part of one with *")
    escaped = folded.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")


def _pairs_of(file: Path, known: "dict[str, Market]") -> tuple[tuple[str, str], ...]:
    from serpline.cli.keyword_files import opened_file
    from serpline.imports.reading import KeywordReport, Options, open_keywords

    report = KeywordReport()
    options = Options(needs_market=False, rows_max=KEYWORDS_MAX)
    with opened_file(file) as stream, open_keywords(stream, options, known) as keywords:
        pairs = tuple(dict.fromkeys((row.key, row.market) for row in keywords.rows(report)))
        if report.problem_count:
            raise UserError(report.summary())
        for note in keywords.layout.notes:
            print_message(f"{shown_path(file)}: {note}")
        return pairs


def show_done(done: dict[str, Any], message: str, *, as_json: bool) -> None:
    """Print what a command has changed: the document, or the message."""
    if as_json:
        print_json(done)
    else:
        typer.echo(terminal_text(message))
