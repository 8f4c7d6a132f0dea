"""``serpline companies mark|merge|split|rename|list``."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from serpline.cli.common import JsonFlag, print_json, print_message, read_name, run, services
from serpline.cli.tables import Column, relation_style, show_table
from serpline.domain.companies import CHANNEL_ADDRESS

app = typer.Typer(help="Mark, merge, rename and list companies.", no_args_is_help=True)

LIMIT_MAX = 1_000_000


_DomainArgument = Annotated[
    str, typer.Argument(help=f"Domain, any URL of it, or {CHANNEL_ADDRESS}UC…")
]


class Relation(StrEnum):
    """What a company is to us. ``none`` removes a mark."""

    OURS = "ours"
    COMPETITOR = "competitor"
    NONE = "none"


def company_domain(given: str) -> str:
    """Return the name that figures use. Raises ``UserError`` as ``company_key`` does."""
    from serpline.analysis.company_keys import company_key

    return company_key(given)


def _checked_name(given: str | None) -> str | None:
    from serpline.config.values import NAME_CHARACTERS_MAX
    from serpline.domain.text import is_name

    name = read_name(given)
    if name is not None and not (is_name(name) and len(name) <= NAME_CHARACTERS_MAX):
        raise typer.BadParameter(
            f"{name!r}: must be 1 to {NAME_CHARACTERS_MAX} printable characters, no space at an end"
        )
    return name


@app.command()
def mark(
    ctx: typer.Context,
    domain: _DomainArgument,
    relation: Annotated[
        Relation, typer.Option("--as", help="ours, competitor, or none to remove the mark.")
    ],
) -> None:
    """Mark a company as ours or a competitor, or remove the mark."""
    name = company_domain(domain)

    async def write() -> str:
        from serpline.store import companies

        async with services(ctx) as opened, opened.database.transaction() as conn:
            value = None if relation is Relation.NONE else str(relation)
            await companies.mark(conn, name, value)
            return await companies.counts_as(conn, name)

    company = run(write())
    note = f"; figures from now on count it as {company}: mark that too" if company != name else ""
    print_message(f"{name}: {relation}{note}")


@app.command()
def merge(
    ctx: typer.Context,
    domains: Annotated[list[str], typer.Argument(help="Domains that are the same company.")],
    into: Annotated[str, typer.Option("--into", help="The company that they count as.")],
) -> None:
    """Count domains as one company in figures computed from now on.

    Figures of past runs stay. 'companies split' undoes it.
    """
    names, other = [company_domain(each) for each in domains], company_domain(into)

    async def write() -> None:
        from serpline.store import companies

        async with services(ctx) as opened, opened.database.transaction() as conn:
            for name in names:
                await companies.merge(conn, name, other)

    run(write())
    print_message(f"{', '.join(names)} → {other} in figures computed from now on")


@app.command()
def split(ctx: typer.Context, domain: _DomainArgument) -> None:
    """Undo a merge: the domain is a company of its own in figures computed from now on."""
    name = company_domain(domain)

    async def write() -> str:
        from serpline.store import companies

        async with services(ctx) as opened, opened.database.transaction() as conn:
            return await companies.split(conn, name)

    print_message(f"{name} no longer counts as {run(write())} in figures computed from now on")


@app.command()
def rename(
    ctx: typer.Context,
    domain: _DomainArgument,
    name: Annotated[
        str | None,
        typer.Argument(help="The name to show. Omit it for the source's.", callback=_checked_name),
    ] = None,
) -> None:
    """Show a company by a name of your own, or by its source's again."""
    company = company_domain(domain)

    async def write() -> None:
        from serpline.store import companies

        async with services(ctx) as opened, opened.database.transaction() as conn:
            await companies.rename(conn, company, name)

    run(write())
    print_message(f"{company}: {name or 'named as its source does'}")


@app.command("list")
def list_(
    ctx: typer.Context,
    limit: Annotated[
        int, typer.Option(min=1, max=LIMIT_MAX, help="Maximum number of companies.")
    ] = 100,
    as_json: JsonFlag = False,
) -> None:
    """List marked and found companies with their latest profile."""

    async def read() -> list[dict[str, Any]]:
        from serpline.store import projects

        async with services(ctx) as opened, opened.database.transaction() as conn:
            return await projects.companies(conn, limit)

    found = run(read())
    if as_json:
        print_json(found)
    else:
        columns = ["domain", "relation", "name", "industry", "country", "employees", "source"]
        if any(row["merged_into"] for row in found):
            columns.insert(1, "merged_into")
        for row in found:
            # PDL may give a size range without a count.
            count = row["employee_count"]
            row["employees"] = row["size"] if count is None else count
            row["industry"] = row["industry_name"] or _as_written(row["industry"])
            row["country"] = row["country_code"] or _as_written(row["country"])
        drops = {"source": 1, "employees": 2, "country": 3, "industry": 4}
        named = [Column(name, drop=drops.get(name, 0), wraps=name != "domain") for name in columns]
        rows = [[row[name] for name in columns] for row in found]
        show_table(named, rows, styles=[relation_style(row["relation"]) for row in found])


def _as_written(text: str | None) -> str | None:
    """Mark a value that the standard lacks: the source's own words, in quotes."""
    return text and f'"{text}"'
