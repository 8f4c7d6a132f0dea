"""The demo's closing report: DSI, rankings, costs, audit, a schedule and further commands."""

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import UUID

import typer

from serpline.cli import demo_audit, demo_recompute, demo_schedule
from serpline.cli.costs import amount
from serpline.cli.demo_clean import PREFIX
from serpline.cli.invocation import command
from serpline.cli.rankings import show_rankings
from serpline.cli.run_tables import show_report
from serpline.cli.tables import Column, Sign, show_table
from serpline.domain.results import Ranking
from serpline.store.database import Database

COMPANIES_SHOWN = 10
RANKS_SHOWN_PER_TYPE = 5
_RANKINGS_READ_MAX = 5_000
_TYPES = ("organic", "news", "video")


async def best_rankings(database: Database, run_id: UUID) -> list[Ranking]:
    """Top results per content type of one keyword: in most types, with the highest volume."""
    from serpline.store.results import reading

    of_run = reading.Selection(run_id=run_id)
    async with (
        database.transaction() as conn,
        aclosing(
            reading.stream(conn, Ranking, of_run, order=Ranking.ORDER, limit=_RANKINGS_READ_MAX)
        ) as rows,
    ):
        ranked = [row async for row in rows if row.state == "ranked"]
    if not ranked:
        return []
    types: dict[tuple[str, str], set[str]] = {}
    volumes: dict[tuple[str, str], int] = {}
    for row in ranked:
        pair = (row.keyword, row.market)
        types.setdefault(pair, set()).add(row.content_type)
        volumes[pair] = row.search_volume or 0
    chosen = max(types, key=lambda pair: (len(types[pair]), volumes[pair]))
    taken: Counter[str] = Counter()
    kept = []
    for row in ranked:
        if (row.keyword, row.market) == chosen:
            taken[row.content_type] += 1
            if taken[row.content_type] <= RANKS_SHOWN_PER_TYPE:
                kept.append(row)
    return kept


def show(
    report: dict[str, Any], rankings: Sequence[Ranking], directory: Path, *, embedded: bool
) -> None:
    """Print the report to stdout."""
    # What it would have cost has a table of its own.
    show_report({**report, "usd": {}})
    _show_dsi(report["dsi"])
    if rankings:
        show_rankings(rankings, f"Rankings of {rankings[0].keyword!r} in {rankings[0].market}")
        typer.echo()
    _show_costs(report)
    typer.echo(demo_audit.summary_line(report["audit"]))
    if report["recomputed"]:
        typer.echo(demo_recompute.summary_line(report["recomputed"]))
    typer.echo()
    demo_schedule.show_schedule(report["demo_schedule"])
    named = [("rankings", "--keyword", row.keyword) for row in rankings[:1]]
    typer.echo(f"All results are in {directory if embedded else 'your database'}. Next commands:")
    for words in (
        ("run", "show", str(report["run_id"])),
        ("schedule", "show", report["demo_schedule"]["id"]),
        ("dsi", "show", "--content-type", "all"),
        *named,
        ("export", "dsi", "--output", "dsi.xlsx"),
        ("dsi", "inputs", "--output", "inputs.jsonl"),
        ("companies", "list"),
        *([("demo", "--clean")] if embedded and directory.name.startswith(PREFIX) else []),
    ):
        typer.echo(f"  {command(directory if embedded else None, *words)}")


def _show_dsi(dsi: Sequence[dict[str, Any]]) -> None:
    """Print the companies with the highest DSI in the largest market, by content type."""
    combined = [row for row in dsi if row["content_type"] == "all" and row["dsi"] is not None]
    if not combined:
        typer.echo("No DSI was computed: see the phases above.")
        return
    (market, device), _ = Counter((r["market"], r["device"]) for r in combined).most_common(1)[0]
    typed = {
        (row["domain"], row["content_type"]): row
        for row in dsi
        if (row["market"], row["device"]) == (market, device)
    }
    top = [row for row in combined if (row["market"], row["device"]) == (market, device)]
    collected = {each["content_type"] for row in top for each in row["sources"]}
    rows = []
    for row in top[:COMPANIES_SHOWN]:
        own = [(kind, typed.get((row["domain"], kind))) for kind in _TYPES]
        figures = [
            found["dsi"] if found else Sign.NONE if kind in collected else None
            for kind, found in own
        ]
        rows.append([row["company"], row["domain"], row["dsi"], *figures, row["coverage"]])
    title = f"Digital Share Index in {market} on {device} (0 to 100; –: does not rank)"
    numbers = [
        Column(name, drop=int(name == "coverage"), digits=3, missing=Sign.UNKNOWN)
        for name in ("combined", *_TYPES, "coverage")
    ]
    show_table([Column("company", drop=2), "domain", *numbers], rows, title=title)
    typer.echo()


def _show_costs(report: dict[str, Any]) -> None:
    rows = [
        [
            provider,
            calls,
            amount(provider, report["credits"].get(provider, 0)),
            report["usd"][provider],
        ]
        for provider, calls in report["calls"].items()
    ]
    columns = ["provider", "calls", "would be charged", "US$ (–: by contract)"]
    show_table(columns, rows, title="With real providers this run would have cost")
    known = sum(row[-1] for row in rows if row[-1] is not None)
    typer.echo(f"US${known:.2f} in all, where the price is public. The demo cost nothing.")
    typer.echo()
