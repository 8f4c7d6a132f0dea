"""``serpline budgets list``: what may be spent, what is spent, and what waits for more."""

from typing import Any

import typer

from serpline.cli.common import JsonFlag, load_settings, print_json, run, services, show_table

app = typer.Typer(help="Credits per provider, day and month.", no_args_is_help=True)


@app.command("list")
def list_(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """The budgets of today and of this month.

    The limits are those of SERPLINE_CREDITS_PER_DAY and SERPLINE_CREDITS_PER_MONTH, as the workers
    have put them in force. A worker that starts with a higher limit wakes what waits on it.
    """

    async def read() -> list[dict[str, Any]]:
        from serpline.robustness import budget
        from serpline.robustness.policies import policies

        async with services(ctx) as opened, opened.database.transaction() as conn:
            return await budget.usage(conn, policies(load_settings(ctx)), opened.clock.now())

    found = run(read())
    if as_json:
        print_json(found)
        return
    columns = ["provider", "scope", "limit_credits", "reserved", "spent", "left", "waiting_chunks"]
    show_table(columns, [[row[name] for name in columns] for row in found])
