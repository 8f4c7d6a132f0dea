"""``serpline budgets list``: limits, spent and reserved credits, and waiting chunks."""

from typing import Any

import typer

from serpline.cli.common import JsonFlag, load_settings, print_json, run, services
from serpline.cli.prices import prices_of
from serpline.cli.tables import Column, show_table

app = typer.Typer(help="Credit budgets of the providers, per day and month.", no_args_is_help=True)


@app.command("list")
def list_(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List the budgets of today and this month, in each provider's credits and time zone.

    Workers set the limits from SERPLINE_CREDITS_PER_DAY and SERPLINE_CREDITS_PER_MONTH when they
    start. A higher limit makes waiting chunks due.
    """

    async def read() -> list[dict[str, Any]]:
        from serpline.robustness import budget
        from serpline.robustness.policies import policies

        async with services(ctx) as opened, opened.database.transaction() as conn:
            return await budget.usage(conn, policies(load_settings(ctx)), opened.clock.now())

    prices = prices_of(load_settings(ctx))
    found = [
        {**row, "spent_usd": prices.usd(row["provider"], float(row["spent"]))}
        for row in run(read())
    ]
    if as_json:
        print_json(found)
        return
    columns = ["provider", "scope", "limit_credits", "reserved", "spent", "spent_usd", "left"]
    columns.append("waiting_chunks")
    drops = {"reserved": 2, "spent_usd": 1}
    named = [Column(name, drop=drops.get(name, 0)) for name in columns]
    show_table(named, [[row[name] for name in columns] for row in found])
