"""``serpline keywords list|remove|tag|untag``: sets of keywords by filter."""

from typing import Annotated, Any

import typer

from serpline.cli.common import JsonFlag, print_json, require_utf8, run, services
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
from serpline.domain.errors import UserError

LIMIT_MAX = 5_000_000

_TagsArgument = Annotated[list[str], typer.Argument(help="Tags.")]


def list_(
    ctx: typer.Context,
    market: MarketsOption = None,
    tag: TagsOption = None,
    landscape: LandscapeOption = None,
    match: MatchOption = None,
    file: FileOption = None,
    limit: Annotated[
        int, typer.Option(min=1, max=LIMIT_MAX, help="Maximum number of pairs.")
    ] = 100,
    as_json: JsonFlag = False,
) -> None:
    """List keyword × market pairs in the order of import."""

    async def read() -> tuple[list[dict[str, Any]], int]:
        from serpline.store import keyword_sets

        async with services(ctx) as opened, opened.database.transaction() as conn:
            wanted = await read_filter(conn, market, tag, landscape, match, file)
            found = await keyword_sets.list_pairs(conn, wanted, limit)
            total = len(found)
            if total == limit:
                total = (await keyword_sets.count(conn, wanted))["pairs"]
            return found, total

    found, total = run(read())
    if as_json:
        print_json(found)
        return
    rows = [[r["id"], r["keyword"], r["market"], r["tags"]] for r in found]
    show_table([Column("id", drop=1), "keyword", "market", "tags"], rows)
    if total > len(found):
        typer.echo(f"{len(found)} of {total} pairs; --limit shows more")


def remove(
    ctx: typer.Context,
    market: MarketsOption = None,
    tag: TagsOption = None,
    landscape: LandscapeOption = None,
    match: MatchOption = None,
    file: FileOption = None,
    is_all: AllOption = False,
    yes: YesOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Remove keyword × market pairs from later runs. Runs and their results stay."""

    async def work() -> dict[str, int]:
        from serpline.store import keyword_sets

        async with services(ctx) as opened:
            async with opened.database.transaction() as conn:
                wanted = await read_filter(conn, market, tag, landscape, match, file)
                require_filter(wanted, is_all=is_all)
                counts = await keyword_sets.count(conn, wanted)
            if counts["pairs"]:
                confirm(_question("Remove", counts), is_agreed=yes)
            async with opened.database.transaction() as conn:
                return {"pairs": await keyword_sets.remove(conn, wanted)}

    done = run(work())
    show_done(done, f"{done['pairs']} pairs removed; results of past runs stay", as_json=as_json)


def tag_(
    ctx: typer.Context,
    tags: _TagsArgument,
    market: MarketsOption = None,
    tag: TagsOption = None,
    landscape: LandscapeOption = None,
    match: MatchOption = None,
    file: FileOption = None,
    is_all: AllOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Add tags to keyword × market pairs."""
    given = _tags(tags)

    async def work() -> dict[str, int]:
        from serpline.store import keyword_sets

        async with services(ctx) as opened, opened.database.transaction() as conn:
            wanted = await read_filter(conn, market, tag, landscape, match, file)
            require_filter(wanted, is_all=is_all)
            counts = await keyword_sets.count(conn, wanted)
            changed = await keyword_sets.tag(conn, wanted, given)
            # Raises inside the transaction, which rolls back.
            await keyword_sets.require_few_tags(conn, wanted)
            return {**counts, "changed": changed}

    done = run(work())
    show_done(done, f"{done['pairs']} pairs chosen, {done['changed']} tagged anew", as_json=as_json)


def untag(
    ctx: typer.Context,
    tags: _TagsArgument,
    market: MarketsOption = None,
    tag: TagsOption = None,
    landscape: LandscapeOption = None,
    match: MatchOption = None,
    file: FileOption = None,
    is_all: AllOption = False,
    yes: YesOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Remove tags from keyword × market pairs."""
    given = _tags(tags)

    async def work() -> dict[str, int]:
        from dataclasses import replace

        from serpline.store import keyword_sets

        async with services(ctx) as opened:
            async with opened.database.transaction() as conn:
                wanted = await read_filter(conn, market, tag, landscape, match, file)
                require_filter(wanted, is_all=is_all)
                # Only those that have one of the tags, besides what the filter wants.
                tagged = wanted if wanted.tags else replace(wanted, tags=given)
                counts = await keyword_sets.count(conn, tagged)
            if counts["pairs"]:
                confirm(_question(f"Remove {', '.join(given)} from", counts), is_agreed=yes)
            async with opened.database.transaction() as conn:
                return {"changed": await keyword_sets.untag(conn, wanted, given)}

    done = run(work())
    show_done(done, f"{done['changed']} pairs changed", as_json=as_json)


def _tags(given: list[str]) -> tuple[str, ...]:
    from serpline.domain.keywords import read_tags

    for each in given:
        require_utf8(each)
    tags = read_tags(",".join(given))
    if isinstance(tags, str):
        raise UserError(tags)
    if not tags:
        raise UserError("give at least one tag that is not empty")
    return tags


def _question(verb: str, counts: dict[str, int]) -> str:
    return f"{verb} {counts['pairs']} keyword × market pairs of {counts['keywords']} keywords?"


def register(app: typer.Typer) -> None:
    """Add the commands to ``keywords``."""
    app.command("list")(list_)
    app.command()(remove)
    app.command("tag")(tag_)
    app.command()(untag)
