"""``serpline landscapes list|show|add|remove``: named sets of keywords."""

from typing import Annotated, Any

import typer

from serpline.cli.common import JsonFlag, print_json, read_name, run, services
from serpline.cli.keyword_filters import (
    AllOption,
    FileOption,
    LandscapeOption,
    MarketsOption,
    MatchOption,
    TagsOption,
    YesOption,
    confirm,
    read_filter,
    require_filter,
    show_done,
)
from serpline.cli.tables import Column, show_table
from serpline.core.escaping import terminal_text
from serpline.domain.errors import UserError

app = typer.Typer(
    help="Landscapes: named sets of keywords that runs and schedules choose.", no_args_is_help=True
)

_NameArgument = Annotated[str, typer.Argument(callback=read_name, help="Name of the landscape.")]


@app.command("list")
def list_(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List landscapes with their keywords and the schedules that use them."""

    async def read() -> list[dict[str, Any]]:
        from serpline.store import keyword_sets

        async with services(ctx) as opened, opened.database.transaction() as conn:
            return await keyword_sets.landscapes(conn)

    found = run(read())
    if as_json:
        print_json(found)
        return
    columns = ["name", "keywords", "pairs", "schedules"]
    show_table(
        [*columns, Column("created", drop=1)],
        [[*(row[name] for name in columns), row["created_at"]] for row in found],
    )


@app.command()
def show(
    ctx: typer.Context,
    name: _NameArgument,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of pairs.")] = 100,
    as_json: JsonFlag = False,
) -> None:
    """Show a landscape's keywords."""

    async def read() -> dict[str, Any]:
        from serpline.store import keyword_sets
        from serpline.store.keyword_sets import KeywordFilter

        async with services(ctx) as opened, opened.database.transaction() as conn:
            found = await _found(conn, name)
            pairs = await keyword_sets.list_pairs(conn, KeywordFilter(landscape=name), limit)
            return {**found, "keyword_markets": pairs}

    found = run(read())
    if as_json:
        print_json(found)
        return
    used = ", ".join(found["schedules"]) or "no schedule"
    typer.echo(
        terminal_text(
            f"{name}: {found['keywords']} keywords, {found['pairs']} pairs; used by {used}"
        )
    )
    rows = [[row["keyword"], row["market"], row["tags"]] for row in found["keyword_markets"]]
    show_table(["keyword", "market", "tags"], rows)


@app.command()
def add(
    ctx: typer.Context,
    name: _NameArgument,
    market: MarketsOption = None,
    tag: TagsOption = None,
    landscape: LandscapeOption = None,
    match: MatchOption = None,
    file: FileOption = None,
    is_all: AllOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Add keywords of the project to a landscape; make it if there is none.

    A landscape has keywords with all their markets.
    """

    async def work() -> dict[str, Any]:
        from serpline.config.model import read_value
        from serpline.config.values import NAME
        from serpline.store import keyword_sets

        stored = read_value(NAME, "NAME", name)
        async with services(ctx) as opened, opened.database.transaction() as conn:
            wanted = await read_filter(conn, market, tag, landscape, match, file)
            require_filter(wanted, is_all=is_all)
            counts = await keyword_sets.count(conn, wanted)
            if not counts["keywords"]:
                raise UserError("no keyword fits: 'serpline keywords list' shows what there is")
            return {
                "name": stored,
                "keywords": counts["keywords"],
                "added": await keyword_sets.add_to_landscape(conn, stored, wanted),
            }

    done = run(work())
    message = f"{done['keywords']} keywords chosen, {done['added']} added to {done['name']}"
    show_done(done, message, as_json=as_json)


@app.command()
def remove(
    ctx: typer.Context,
    name: _NameArgument,
    market: MarketsOption = None,
    tag: TagsOption = None,
    match: MatchOption = None,
    file: FileOption = None,
    yes: YesOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Remove keywords from a landscape, or without a filter the landscape itself.

    The keywords stay in the project.
    """

    async def work() -> dict[str, Any]:
        from dataclasses import replace

        from serpline.store import keyword_sets

        async with services(ctx) as opened:
            async with opened.database.transaction() as conn:
                found = await _found(conn, name)
                wanted = await read_filter(conn, market, tag, None, match, file)
                within = replace(wanted, landscape=name)
                counts = await keyword_sets.count(conn, within)
            if wanted.is_empty:
                if found["schedules"]:
                    raise UserError(
                        f"landscape {name!r} is used by {', '.join(map(repr, found['schedules']))}:"
                        " change or delete these schedules first"
                    )
                question = f"Remove the landscape {name!r} of {found['keywords']} keywords?"
            else:
                question = f"Remove {counts['keywords']} keywords from the landscape {name!r}?"
            if wanted.is_empty or counts["keywords"]:
                confirm(question, is_agreed=yes)
            async with opened.database.transaction() as conn:
                if wanted.is_empty:
                    if not await keyword_sets.remove_landscape(conn, name):
                        raise UserError(f"landscape {name!r} is in use by now: nothing was removed")
                    return {"name": name, "keywords": found["keywords"], "is_removed": True}
                removed = await keyword_sets.remove_from_landscape(conn, name, within)
                return {"name": name, "keywords": removed, "is_removed": False}

    done = run(work())
    what = "landscape removed" if done["is_removed"] else "removed from the landscape"
    show_done(
        done, f"{done['keywords']} keywords: {what}; they stay in the project", as_json=as_json
    )


async def _found(conn: Any, name: str) -> dict[str, Any]:
    from serpline.store import keyword_sets, projects

    await projects.check_landscape(conn, name)
    return next(row for row in await keyword_sets.landscapes(conn) if row["name"] == name)
