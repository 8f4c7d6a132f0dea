"""``serpline trends``: changes since the previous snapshot, or one company over time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from serpline.cli.common import JsonFlag, RunOption, print_json, run, services
from serpline.cli.companies import company_domain
from serpline.cli.dsi import require_market
from serpline.cli.runs import find_run
from serpline.cli.tables import show_table
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType

SNAPSHOTS_MAX = 100


def trends(
    ctx: typer.Context,
    run_id: RunOption = None,
    before: Annotated[
        str | None, typer.Option(help="Compare with this run, even if its keywords differ.")
    ] = None,
    company: Annotated[
        str | None, typer.Option(help="Show one company (its domain) over time.")
    ] = None,
    content_type: Annotated[
        ContentType | None, typer.Option(help="Only this content type.")
    ] = None,
    market: Annotated[str | None, typer.Option(help="Only this market: its code.")] = None,
    snapshots: Annotated[
        int, typer.Option(min=2, max=SNAPSHOTS_MAX, help="Snapshots to go back for --company.")
    ] = 12,
    limit: Annotated[int, typer.Option(min=1, help="Companies per type, market and device.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Show changes since the previous tracked run, the largest first (--json: all).

    Changes compare only figures computed the same way; otherwise 'note' names the difference.
    """
    if content_type is ContentType.ALL:
        raise UserError("--content-type all has no trends: choose organic, news or video")
    if company and before:
        raise UserError("--before and --company exclude each other: --company covers all snapshots")

    async def read() -> list[dict[str, Any]]:
        from serpline.pipeline import trends as compared

        async with services(ctx) as opened:
            found = await find_run(opened, run_id, scored=True)
            other = await find_run(opened, before) if before else None
            async with opened.database.transaction() as conn:
                if company:
                    domain = company_domain(company)
                    rows = await compared.history(conn, found, domain, content_type, snapshots)
                    if not rows:
                        raise UserError(
                            f"company {domain!r}: has fewer than two snapshots to compare"
                        )
                else:
                    rows = await compared.between(conn, found, other, content_type)
        if market is None:
            return rows
        code = require_market(market, {row["market"] for row in rows}, found)
        return [row for row in rows if row["market"] == code]

    rows = run(read())
    if as_json:
        print_json(rows)
        return
    shown = rows if company else _largest(rows, limit)
    columns = ["content_type", "market", "device", "company", "from", "to", "status"]
    columns += ["rank", "rank_change", "dsi", "dsi_change", "note"]
    show_table(columns, [_cells(row) for row in shown], title="Trends; –: unknown")


def _largest(rows: Sequence[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """Rows with the largest changes per type, market and device; ties: the highest DSI first.

    A missing figure counts as 0.
    """

    def size(row: Mapping[str, Any]) -> tuple[float, float]:
        before, after = (float(row[f"dsi_{side}"] or 0.0) for side in ("before", "after"))
        return -abs(after - before), -after

    taken: Counter[tuple[str, ...]] = Counter()
    kept = []
    place = ("content_type", "market", "device")
    for row in sorted(rows, key=lambda row: (*(row[name] for name in place), *size(row))):
        key = tuple(row[name] for name in place)
        taken[key] += 1
        if taken[key] <= limit:
            kept.append(row)
    return kept


def _cells(row: Mapping[str, Any]) -> list[Any]:
    change = row["dsi_change"]
    return [
        *(row[name] for name in ("content_type", "market", "device", "company")),
        str(row["collected_on_before"]),
        str(row["collected_on_after"]),
        row["status"],
        _before_after(row["rank_before"], row["rank_after"], "d"),
        None if row["rank_change"] is None else f"{row['rank_change']:+d}",
        _before_after(row["dsi_before"], row["dsi_after"], ".4f"),
        None if change is None else f"{change:+.4f}",
        "; ".join(filter(None, [row["differs"], *_sample_notes(row)])),
    ]


def _before_after(before: float | None, after: float | None, form: str) -> str | None:
    if before is None and after is None:
        return None
    return " → ".join("–" if value is None else format(value, form) for value in (before, after))


def _sample_notes(row: Mapping[str, Any]) -> list[str]:
    """Differences between the two sets of searches, which may explain a change."""
    found = []
    for side in ("before", "after"):
        if slot := row[f"late_for_{side}"]:
            found.append(f"{side}: late for {slot:%Y-%m-%d %H:%M}")
        collected, planned = row[f"collected_{side}"], row[f"planned_{side}"]
        if collected is None:
            found.append(f"{side}: no searches")
        elif collected < planned:
            found.append(f"{side}: {collected} of {planned} searches")
    changed = [f"{row[f'keywords_{how}']} {how}" for how in ("gone", "added")
               if row[f"keywords_{how}"]]  # fmt: skip
    return [*found, f"keywords: {', '.join(changed)}"] if changed else found
