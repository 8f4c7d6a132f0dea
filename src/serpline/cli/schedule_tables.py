"""Tables about schedules that fit 80 columns: times, outcomes, health, cost, versions."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import typer

from serpline.cli.tables import ID_CHARACTERS, Column, format_cell, show_table
from serpline.cli.times import length, minute
from serpline.core.escaping import terminal_text

# A start that is this late is worth a word.
LATE_SECONDS_SHOWN = 60.0
# From here on, tenths of runs are no help.
_RUNS_ROUNDED = 100


def show_times(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> None:
    """Print rows of ``schedule preview``, with the notes on clock changes below the table."""
    shown = []
    notes: dict[str, int] = {}
    for row in rows:
        local = datetime.fromisoformat(row["local"])
        mark = f" [{notes.setdefault(row['note'], len(notes) + 1)}]" if row["note"] else ""
        shown.append(
            [
                minute(row["scheduled_for"]),
                f"{local:%a} {local.isoformat(sep=' ', timespec='minutes')}{mark}",
                "; ".join(", ".join(run) for run in row["runs"]),
            ]
        )
    show_table(["UTC", "local", "runs"], shown, title=title)
    for note, number in notes.items():
        typer.echo(terminal_text(f"[{number}] {note}"))


def show_schedules(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print the list of schedules: the next time, and what became of the last one."""
    shown = []
    for row in rows:
        last = row["last"]
        at = minute(last[0]["scheduled_for"]) if last else None
        shown.append([row["id"], row["status"], minute(row["next_at"]), at, _last(row)])
    show_table(["id", "status", "next (UTC)", "last (UTC)", "last outcome"], shown)


def _last(row: Mapping[str, Any]) -> str | None:
    """The outcomes of the last instant; content types are named if they differ."""
    outcomes: dict[str, list[str]] = {}
    for slot in row["last"]:
        outcomes.setdefault(_outcome(slot), []).append(slot["content_type"])
    if len(outcomes) < 2:
        return next(iter(outcomes), None)
    return "; ".join(f"{', '.join(kinds)}: {outcome}" for outcome, kinds in outcomes.items())


def _outcome(slot: Mapping[str, Any]) -> str:
    if slot["run_status"] is not None:
        return _words(slot["run_status"])
    return f"{slot['outcome']} ({_words(slot['reason_code'])})"


def show_slots(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print slots, one row for the content types that share an instant, an outcome and a run."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    for row in rows:
        run_id = row["run_id"] and str(row["run_id"])[:ID_CHARACTERS]
        reason = _slot_reason(row)
        key = (minute(row["scheduled_for"]), row["outcome"], run_id, reason)
        alike.setdefault(key, []).append(row["content_type"])
    shown = [[at, kinds, outcome, run, why] for (at, outcome, run, why), kinds in alike.items()]
    show_table(["time (UTC)", "types", "outcome", "run", "reason"], shown)


def _slot_reason(row: Mapping[str, Any]) -> str:
    parts = [row["reason"]]
    late = row["lateness_seconds"]
    if late is not None and late >= LATE_SECONDS_SHOWN:
        parts.append(f"{length(late)} after its time")
    if row["run_status"] is not None:
        parts.append(f"run {_words(row['run_status'])}")
    return "; ".join(parts)


def show_health(schedule: Mapping[str, Any]) -> None:
    """Print how each content type of a schedule fares."""
    lanes = [e for e in schedule["lanes"] if e["content_type"] in schedule["content_types"]]
    shown = [
        [
            lane["content_type"],
            minute(lane["last_success_at"]),
            minute(lane["fresh_until"]),
            lane["failures_in_row"],
            _lateness(lane["recent"]),
        ]
        for lane in lanes
    ]
    columns = ["type", "newest data", "fresh until", "failures", "late (most)"]
    show_table(columns, shown, title="Health (UTC); failures in a row; how late runs start")
    for lane in lanes:
        if lane["stale_since"] is not None:
            typer.echo(f"{lane['content_type']}: data too old since {minute(lane['stale_since'])}")
        if lane["paused_at"] is not None:
            typer.echo(terminal_text(f"{lane['content_type']} is paused: {lane['pause_reason']}"))


def _lateness(recent: Mapping[str, Any] | None) -> str | None:
    if recent is None or recent["lateness_seconds_median"] is None:
        return None
    most = length(recent["lateness_seconds_max"])
    return f"{length(recent['lateness_seconds_median'])} ({most})"


def show_cost(cost: Mapping[str, Any]) -> None:
    """Print what a schedule costs in a month."""
    if cost["error"]:
        typer.echo(terminal_text(f"Cost per month: unknown: {cost['error']}"))
        return
    shown = [
        [name, _range(each, "credits"), each["unit"], _range(each, "usd"), each["basis"]]
        for name, each in cost["providers"].items()
        if each["credits_max"]
    ]
    runs = f"{cost['runs']:,.{0 if cost['runs'] >= _RUNS_ROUNDED else 1}f}"
    title = f"Cost per month: {runs} runs, {cost['searches']:,} searches"
    columns: list[str | Column] = [
        "provider",
        "credits",
        "unit",
        "US$ (–: by contract)",
        Column("basis", drop=1),
    ]
    show_table(columns, shown, title=title)


def _range(each: Mapping[str, Any], name: str) -> str | None:
    least, most = each[name], each[f"{name}_max"]
    if least is None:
        return None
    digits = 2 if name == "usd" else 0
    low, high = (f"{value:,.{digits}f}" for value in (least, most))
    return low if low == high else f"{low} to {high}"


def show_provider_batches(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the batches that the provider starts, if there are any."""
    shown = []
    for row in rows:
        notes = [
            row["held_by"] and f"held back: no room in {row['held_by']}",
            row["error"],
        ]
        credits_ = None if row["credits"] is None else f"{row['credits']:,g}"
        starts = {None: None, True: "yes", False: "no"}[row["enabled"]]
        note = "; ".join(filter(None, notes))
        shown.append(
            [row["content_type"], row["provider_batch_id"], starts, row["searches"], credits_, note]
        )
    if shown:
        columns = ["type", "batch", "starts", "searches", "credits a start", "note"]
        show_table(columns, shown, title="Batches that the provider starts")


def show_versions(versions: Sequence[Mapping[str, Any]]) -> None:
    """Print the history of a schedule, newest first."""
    shown = [[v["version"], minute(v["created_at"]), v["reason"]] for v in reversed(versions)]
    show_table(["version", "since (UTC)", "reason"], shown)


def _words(code: str) -> str:
    return format_cell(code).replace("_", " ")
