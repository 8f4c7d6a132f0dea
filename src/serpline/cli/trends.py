"""``serpline trends``: changes since the previous snapshot, or one company over time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from serpline.cli.common import JsonFlag, print_json, require_utf8, run, services
from serpline.cli.runs import find_run
from serpline.cli.selecting import FilterOptions, choose_run, filtered
from serpline.cli.tables import Column, Sign, show_table
from serpline.cli.trend_tables import show_figures, show_positions
from serpline.domain.errors import UserError
from serpline.domain.names import SEARCHED_TYPES, ContentType

if TYPE_CHECKING:
    from serpline.store.database import Connection
    from serpline.store.results.selection import Selection

SNAPSHOTS_MAX = 100
_CHOOSE = "choose organic, news or video"


class Metric(StrEnum):
    """A figure that is followed over time."""

    DSI = "dsi"
    COVERAGE = "coverage"
    TRAFFIC_SHARE = "traffic_share"
    RELEVANCE = "relevance"
    SHARE_OF_RESULTS = "share_of_results"
    SHARE_OF_FIRST = "share_of_first"
    SHARE_OF_VOLUME = "share_of_volume"


def _trends(
    ctx: typer.Context,
    filters: FilterOptions,
    before: Annotated[
        str | None, typer.Option(help="Compare with this run, even if its keywords differ.")
    ] = None,
    metric: Annotated[
        Metric | None,
        typer.Option(
            metavar="FIGURE",
            help="Follow a figure over the snapshots: dsi, coverage,"
            " traffic_share, relevance, share_of_results, _first or _volume.",
        ),
    ] = None,
    keyword: Annotated[
        str | None,
        typer.Option(callback=require_utf8, help="Follow the positions of this keyword."),
    ] = None,
    positions: Annotated[
        bool, typer.Option("--positions", help="Follow the positions of the companies asked for.")
    ] = False,
    snapshots: Annotated[
        int, typer.Option(min=2, max=SNAPSHOTS_MAX, help="Snapshots to go back.")
    ] = 12,
    limit: Annotated[int, typer.Option(min=1, help="Rows per type, market and device.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Show changes since the previous tracked run, the largest first (--json: all).

    With one --company: its changes from snapshot to snapshot. With --metric, --keyword or
    --positions: a sparkline over the snapshots. Changes compare only figures computed the same
    way; otherwise a note names the difference.
    """
    followed = keyword or positions
    modes = {"--before": before, "--metric": metric, "--keyword or --positions": followed}
    given = [name for name, value in modes.items() if value]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} exclude each other")
    is_named = bool(filters.company or filters.ours or filters.competitors)
    if positions and not is_named:
        raise UserError("--positions: name companies by --company, --ours or --competitors")
    if before and filters.company:
        raise UserError("--before and --company exclude each other: --company covers all snapshots")

    async def read() -> list[dict[str, Any]]:
        from serpline.domain.results import Figure

        async with services(ctx) as opened:
            other = await find_run(opened, before) if before else None
            async with opened.database.transaction() as conn:
                asked = filters.read()
                if ContentType.ALL in asked.content_types:
                    raise UserError(f"--content-type all has no trends: {_CHOOSE}")
                chosen, _ = await choose_run(conn, Figure, asked)
                if metric or followed:
                    return await _followed(conn, chosen, metric, keyword, snapshots, limit)
                return await _changed(conn, chosen, other, snapshots)

    rows = run(read())
    if as_json:
        print_json(rows)
    elif metric:
        show_figures(rows, str(metric), limit)
    elif followed:
        show_positions(rows, limit)
    else:
        is_one = filters.company is not None and len(filters.company) == 1
        _show_changes(rows if is_one else _largest(rows, limit))


trends = filtered(_trends, left_out=("tag", "landscape", "since", "until"))
trends.__name__ = "trends"


async def _followed(
    conn: "Connection",
    chosen: "Selection",
    metric: Metric | None,
    keyword: str | None,
    count: int,
    best: int,
) -> list[dict[str, Any]]:
    from serpline.domain.keywords import keyword_key
    from serpline.pipeline import series

    rows: list[dict[str, Any]] = []
    for kind in chosen.content_types or SEARCHED_TYPES:
        if metric:
            rows += await series.of_figures(
                conn, chosen, ContentType(kind), str(metric), count, best
            )
        else:
            wanted = replace(chosen, keyword=keyword_key(keyword) if keyword else None)
            rows += await series.of_positions(conn, wanted, ContentType(kind), count)
    if not rows:
        raise UserError(f"run {chosen.run_id}: no snapshot has what is asked for")
    return rows


async def _changed(
    conn: "Connection", chosen: "Selection", other: UUID | None, count: int
) -> list[dict[str, Any]]:
    from serpline.pipeline import trends as compared
    from serpline.store.results import reading

    assert chosen.run_id is not None
    rows: list[dict[str, Any]] = []
    kinds: list[ContentType | None] = [ContentType(kind) for kind in chosen.content_types]
    for kind in kinds or [None]:
        if len(chosen.companies) == 1:
            (company,) = chosen.companies
            rows += await compared.history(conn, chosen.run_id, company, kind, count)
        else:
            rows += await compared.between(conn, chosen.run_id, other, kind)
    if not rows:
        raise UserError(f"company {chosen.companies[0]!r}: has fewer than two snapshots to compare")
    wanted = (
        ("market", chosen.markets),
        ("device", chosen.devices),
        ("company", chosen.companies),
    )
    rows = [row for row in rows if all(not has or row[name] in has for name, has in wanted)]
    if chosen.relations:
        marks = reading.Selection(relations=chosen.relations)
        marked = {each.company async for each in reading.stream(conn, reading.Company, marks)}
        rows = [row for row in rows if row["company"] in marked]
    return rows


def _show_changes(rows: Sequence[dict[str, Any]]) -> None:
    columns = [
        Column("type", drop=5, is_key=True),
        Column("market", drop=4, is_key=True),
        Column("device", drop=1, is_key=True),
        Column("company"),
        Column("from", drop=2),
        Column("to", drop=3, is_key=True),
        Column("status", drop=6),
        Column("rank", drop=8),
        Column("moved", drop=7),
        Column("DSI", missing=Sign.UNKNOWN, wraps=False),
        Column("change", missing=Sign.UNKNOWN),
        Column("note"),
    ]
    show_table(columns, [_cells(row) for row in rows], title="Trends")


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
        _before_after(row, "rank", "d"),
        None if row["rank_change"] is None else f"{row['rank_change']:+d}",
        _before_after(row, "dsi", ".4f"),
        None if change is None else f"{change:+.4f}",
        "; ".join(filter(None, [row["differs"], *_sample_notes(row)])),
    ]


def _before_after(row: Mapping[str, Any], name: str, form: str) -> str:
    """A figure of both sides. A new or lost company has none on one of them."""
    absent = {"new": "before", "lost": "after"}.get(row["status"])
    shown = []
    for side in ("before", "after"):
        value = row[f"{name}_{side}"]
        missing = Sign.NONE if side == absent else Sign.UNKNOWN
        shown.append(str(missing) if value is None else format(value, form))
    return " → ".join(shown)


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
