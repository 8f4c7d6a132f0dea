"""A run as tables for people."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import typer

from serpline.cli.common import print_message
from serpline.cli.costs import amount
from serpline.cli.run_events import show_events
from serpline.cli.tables import Column, Sign, show_table
from serpline.cli.times import minute
from serpline.core.escaping import terminal_text
from serpline.domain.states import LaneStatus

MISSING_SHOWN_MAX = 20


def show_report(report: dict[str, Any]) -> None:
    """Print a run's lanes, spending, batches and failures as tables."""
    counted = ("status", "planned", "completed", "failed", "skipped")
    rows = [
        [phase, kind, *(lane[name] for name in counted), _lane_details(lane, report["run_id"])]
        for phase, found in report["phases"].items()
        for kind, lane in found["content_types"].items()
    ]
    title = f"run {report['run_id']}: {report['status']}, {report['seconds']:.1f} s"
    title += _slot(report)
    columns: list[str | Column] = [
        Column("phase", wraps=False),
        "type",
        "status",
        Column("planned", drop=2),
    ]
    columns += ["completed", Column("failed", drop=3), Column("skipped", drop=1), "details"]
    show_table(columns, rows, title=title + _missing_searches(report))
    for row in report["missing"]:
        # The reason of a failure is in the table, that of a skipped phase says what is missing.
        loss = row["without" if row["status"] == LaneStatus.FAILED else "reason"]
        kinds = ", ".join(row["content_types"])
        typer.echo(terminal_text(f"{row['phase']} {row['status']} ({kinds}): {loss}"))
    for line in report["doing"]:
        typer.echo(terminal_text(line))
    missing = [row for row in report["collection"] if row["collected"] < row["planned"]]
    if missing:
        names = ("content_type", "market", "device", "planned", "collected")
        partly = [[row[name] for name in names] for row in missing[:MISSING_SHOWN_MAX]]
        show_table(["type", *names[1:]], partly, title="Not all searches were collected")
    if report["calls"]:
        credits_, usd = report["credits"], report.get("usd", {})
        spent: list[list[Any]] = [
            [provider, calls, amount(provider, credits_.get(provider, 0)), usd.get(provider)]
            for provider, calls in report["calls"].items()
        ]
        priced = [Column("US$", digits=2, missing=Sign.UNKNOWN)] if usd else []
        rows = [row if usd else row[:-1] for row in spent]
        show_table(["provider", "calls", "charged", *priced], rows)
    # Batches without missing results or errors are left out.
    notable = [b for b in report["batches"] if b["missing"] or b["error"]]
    if notable:
        named = ("content_type", "stage", "priority", "status", "searches", "missing", "error")
        show_table(
            ["type", "batch", Column("priority", drop=1), *named[3:]],
            [[b[name] for name in named] for b in notable[-20:]],
        )
    if report["empty_pages"]:
        empty = [list(row.values()) for row in report["empty_pages"]]
        show_table(["type", "kind", "pages", "example"], empty, title="Pages without content")
    if report["failures"]:
        failures = [
            [f["phase_name"], f["content_type"], item_text(f), f["error_category"], f["error"]]
            for f in report["failures"][:10]
        ]
        phase = Column("phase", drop=2, is_key=True, wraps=False)
        show_table([phase, "type", "failed item", Column("category", drop=1), "error"], failures)
        if len(report["failures"]) > len(failures):
            print_message(f"more: serpline failures --run {report['run_id']}")
    if "events" in report:
        show_events(report["events"])


def item_text(failure: Mapping[str, Any]) -> str:
    """An item as ``run retry --item`` reads it, with the keyword behind a number."""
    item: str = failure["item"]
    return item if failure["keyword"] is None else f"{item} ({failure['keyword']})"


def _slot(report: Mapping[str, Any]) -> str:
    """For the title: the schedule, and the slot that the run stands for."""
    name, slot, given = report["schedule"], report["scheduled_for"], report["backfill"]
    what = {"late": "late snapshot", "refetch": "fetched again", "recompute": "recomputed"}
    words = f"; schedule {name!r}" if name else ""
    if given is not None:
        words += f"; {what[given['kind']]}"
    return f"{words} for the slot {minute(slot)} UTC" if words and slot else words


def _missing_searches(report: Mapping[str, Any]) -> str:
    """For the title: collected and planned searches, if some are missing."""
    planned = sum(row["planned"] for row in report["collection"])
    collected = sum(row["collected"] for row in report["collection"])
    return f"; {collected} of {planned} searches collected" if collected < planned else ""


def _lane_details(lane: Mapping[str, Any], run_id: UUID) -> str | None:
    """A lane's error or note, and the run it takes its results from."""
    parts = [lane["error"], None if lane["status"] == LaneStatus.SKIPPED else lane["note"]]
    if lane["source_run_id"] != run_id:
        parts.append(f"results of run {lane['source_run_id']}")
    return "; ".join(filter(None, parts)) or None
