"""Tables of ``serpline trends``: a sparkline, the first and the last value, the change."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import typer

from serpline.cli.common import print_message
from serpline.cli.tables import Column, Sign, relation_style, show_table, sparkline

_PLACE = ("content_type", "market", "device")


def show_figures(rows: Sequence[Mapping[str, Any]], metric: str, limit: int) -> None:
    """Print a figure of each company over the snapshots (``series.of_figures``)."""
    for no, (place, of_place) in enumerate(groupby(rows, key=_place)):
        if no:
            typer.echo()
        shown = list(of_place)[:limit]
        dates = shown[0]["dates"]
        # Two companies of one name are told apart by their domains.
        is_unique = len({row["company_name"] or row["company"] for row in shown}) == len(shown)
        columns = [
            Column("company"),
            Column("domain", drop=2 if is_unique else 0, wraps=False),
            Column("trend", wraps=False),
            Column("first", digits=4, missing=Sign.UNKNOWN),
            Column("last", digits=4, missing=Sign.UNKNOWN),
            Column("change", digits=4, signed=True, missing=Sign.UNKNOWN),
            Column("note", drop=1),
        ]
        cells = [
            [
                row["company_name"] or row["company"],
                row["company"],
                sparkline(row["values"]),
                row["values"][0],
                row["values"][-1],
                _change(row),
                row["differs"],
            ]
            for row in shown
        ]
        title = f"{metric.replace('_', ' ')}: {', '.join(place)}, {_span(dates)}"
        styles = [relation_style(row["relation"]) for row in shown]
        show_table(columns, cells, title=title, styles=styles)


def _place(row: Mapping[str, Any]) -> list[str]:
    return [row[name] for name in _PLACE]


def _change(row: Mapping[str, Any]) -> float | None:
    first, last = row["values"][0], row["values"][-1]
    return None if row["differs"] or first is None or last is None else last - first


def show_positions(rows: Sequence[Mapping[str, Any]], limit: int) -> None:
    """Print positions over the snapshots (``series.of_positions``), the best ones first."""
    for no, (place, of_place) in enumerate(groupby(rows, key=_place)):
        if no:
            typer.echo()
        best = sorted(of_place, key=_by_position)
        shown = best[:limit]
        columns = [
            Column("keyword"),
            Column("company", drop=1, is_key=True),
            Column("trend", wraps=False),
            Column("first", wraps=False),
            Column("last", wraps=False),
            Column("won", missing=Sign.UNKNOWN),
            Column("lost", missing=Sign.UNKNOWN),
        ]
        cells = [
            [
                row["keyword"],
                row["company_name"] or row["company"],
                sparkline(row["positions"], lowest_is_best=True),
                row["positions"][0] or row["states"][0],
                row["positions"][-1] or row["states"][-1],
                *(_tops(row[how]) for how in ("won", "lost")),
            ]
            for row in shown
        ]
        title = f"Positions: {', '.join(place)}, {_span(shown[0]['dates'])}"
        styles = [relation_style(row["relation"]) for row in shown]
        show_table(columns, cells, title=title, styles=styles)
        if len(best) > limit:
            print_message(f"only {limit} of {len(best)} rows are shown; --limit shows more")


def _by_position(row: Mapping[str, Any]) -> tuple[bool, int, str]:
    last = row["positions"][-1]
    return last is None, last or 0, row["keyword"]


def _tops(tops: Sequence[int] | None) -> str | None:
    if tops is None:
        return None
    return ", ".join(f"top {top}" for top in tops) or str(Sign.NONE)


def _span(dates: Sequence[Any]) -> str:
    return f"{dates[0]} to {dates[-1]}, {len(dates)} snapshot{'s' if len(dates) > 1 else ''}"
