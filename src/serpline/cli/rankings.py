"""``serpline rankings``. Not collected, not ranked and ranked are three different states."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from serpline.cli.common import (
    JsonFlag,
    RunOption,
    print_json,
    print_message,
    require_utf8,
    run,
    services,
)
from serpline.cli.companies import company_domain
from serpline.cli.runs import find_run
from serpline.cli.tables import show_table
from serpline.domain.errors import UserError
from serpline.domain.keywords import keyword_key

LIMIT_MAX = 5_000_000


def rankings(
    ctx: typer.Context,
    run_id: RunOption = None,
    keyword: Annotated[
        str | None, typer.Option(callback=require_utf8, help="Only this keyword.")
    ] = None,
    company: Annotated[str | None, typer.Option(help="Only this company: its domain.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="Maximum number of rows.")] = 200,
    as_json: JsonFlag = False,
) -> None:
    """Show rankings by keyword, market, content type and device."""
    domain = company_domain(company) if company else None

    async def read() -> list[dict[str, Any]]:
        from serpline.store.results import scores

        async with services(ctx) as opened:
            found = await find_run(opened, run_id)
            async with opened.database.transaction() as conn:
                rows = await scores.rankings(
                    conn,
                    found,
                    keyword=keyword_key(keyword) if keyword else None,
                    company=domain,
                    limit=limit + 1,
                )
        if keyword and not rows:
            # Every keyword of a run has rows; a keyword that was not collected has its state.
            raise UserError(f"keyword {keyword!r}: run {found} has no such keyword")
        if len(rows) > limit:
            print_message(f"only the first {limit} rows are shown; --limit shows more")
        return rows[:limit]

    found = run(read())
    if as_json:
        print_json(found)
        return
    late = found[0]["late_for"] if found else None
    show_rankings(found, title=f"Late snapshot for the slot {late:%Y-%m-%d %H:%M}" if late else "")


COLUMNS = ("keyword", "market", "content_type", "device", "position", "company", "title")


def show_rankings(
    found: Sequence[dict[str, Any]], columns: Sequence[str] = COLUMNS, *, title: str = ""
) -> None:
    """Print rankings as a table. Without a position, the column shows the state."""
    rows = [
        [row[name] if name != "position" else row["position"] or row["state"] for name in columns]
        for row in found
    ]
    show_table(columns, rows, title=title)
