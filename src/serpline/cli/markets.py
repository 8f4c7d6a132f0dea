"""``serpline markets list|add``."""

from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from serpline.cli.common import JsonFlag, print_json, require_utf8, run, services
from serpline.cli.tables import Column, show_table
from serpline.core.escaping import terminal_text
from serpline.domain.errors import UserError
from serpline.domain.markets import Market, dataforseo_language, normal_code

app = typer.Typer(help="Markets: the place and language of searches.", no_args_is_help=True)

CODE_CHARACTERS_MAX = 32
# The column's largest value.
LOCATION_CODE_MAX = 2**31 - 1


@app.command("list")
def list_(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List all markets: 250 built-in ones and those added."""

    async def read() -> list[Market]:
        from serpline.store import projects

        async with services(ctx) as opened, opened.database.transaction() as conn:
            await projects.ensure_builtin_markets(conn)
            return list((await projects.markets(conn)).values())

    found = run(read())
    if as_json:
        print_json([asdict(market) for market in found])
    else:
        columns = ["code", "name", "language", "gl", "hl", "google_domain", "location_code"]
        drops = {"location_code": 1, "google_domain": 2}
        named = [Column(name, drop=drops.get(name, 0)) for name in columns]
        show_table(named, [[getattr(m, name) for name in columns] for m in found])


@app.command()
def add(
    ctx: typer.Context,
    code: Annotated[str, typer.Argument(help="Code used in keyword files, such as CH-FR.")],
    like: Annotated[str, typer.Option(help="Market to copy all other values from.")],
    name: Annotated[str | None, typer.Option(callback=require_utf8, help="Display name.")] = None,
    language: Annotated[
        str | None, typer.Option(callback=require_utf8, help="BCP 47 tag, such as fr.")
    ] = None,
    hl: Annotated[
        str | None,
        typer.Option(
            callback=require_utf8, help="Google's interface language; default: --language."
        ),
    ] = None,
    gl: Annotated[
        str | None, typer.Option(callback=require_utf8, help="Google's country code.")
    ] = None,
    google_domain: Annotated[
        str | None, typer.Option(callback=require_utf8, help="Google domain, such as google.ch.")
    ] = None,
    location: Annotated[
        str | None,
        typer.Option(callback=require_utf8, help="ScaleSERP's location, such as a town."),
    ] = None,
    location_code: Annotated[
        int | None, typer.Option(min=1, max=LOCATION_CODE_MAX, help="DataForSEO's location code.")
    ] = None,
    language_code: Annotated[
        str | None,
        typer.Option(
            callback=require_utf8, help="DataForSEO's language; default: from --language."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Add a market: a copy of another one with some values changed."""
    stored = normal_code(code)
    allowed = all(c.isascii() and (c.isalnum() or c in "-_") for c in stored)
    if not stored or len(stored) > CODE_CHARACTERS_MAX or not allowed:
        raise UserError(f"market {code!r}: a code is 1 to 32 characters of A-Z, 0-9, - and _")
    given = {
        "name": name,
        "language": language,
        "hl": hl or language,
        "gl": gl,
        "google_domain": google_domain,
        "location": location,
        "location_code": location_code,
        "language_code": language_code,
    }

    async def insert() -> Market:
        from serpline.analysis.market_names import MarketNames
        from serpline.store import projects

        async with services(ctx) as opened, opened.database.transaction() as conn:
            await projects.ensure_builtin_markets(conn)
            base = MarketNames(await projects.markets(conn)).get(like)
            changed: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
            if language is not None and language_code is None:
                changed["language_code"] = dataforseo_language(language)
            market = replace(base, code=stored, **changed)
            if not await projects.add_market(conn, market):
                raise UserError(f"market {stored!r}: exists already")
            return market

    market = run(insert())
    if as_json:
        print_json(asdict(market))
    else:
        typer.echo(terminal_text(f"market {market.code} added: {market.name}, {market.language}"))
