"""``serpline run list|show|watch|pause|resume|cancel|retry``; ``start`` is in ``start``."""

from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from serpline.cli.common import (
    JsonFlag,
    print_json,
    print_message,
    print_spool,
    require_utf8,
    run,
    services,
    spool_list,
)
from serpline.cli.costs import amount
from serpline.cli.invocation import person
from serpline.cli.prices import prices_of
from serpline.cli.run_events import read_events, show_events
from serpline.cli.tables import Column, Sign, show_table
from serpline.cli.times import minute
from serpline.core.escaping import terminal_text
from serpline.core.spool import Spool
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.states import RunStatus

if TYPE_CHECKING:
    from serpline.app.services import Services

app = typer.Typer(help="Start, watch and control runs.", no_args_is_help=True)

LIMIT_MAX = 10_000
_PAST = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}
MISSING_SHOWN_MAX = 20
_HEX = frozenset("0123456789abcdef-")

RunId = Annotated[str, typer.Argument(help="Run id, its first characters, or 'latest'.")]


async def find_run(opened: "Services", given: str | None, *, scored: bool = False) -> UUID:
    """Find a run by its id, its first characters or ``latest``; ``scored``: the latest with a DSI.

    Raises ``UserError`` for an unknown run and for an ambiguous beginning.
    """
    from serpline.store.results import reports

    name = (given or "latest").strip().lower()
    async with opened.database.transaction() as conn:
        if name == "latest":
            latest = await reports.latest_run(conn, scored=scored)
            if latest is None:
                raise UserError("there is no run" + (" with a DSI yet" if scored else " yet"))
            return latest
        found = await reports.runs_starting_with(conn, name) if set(name) <= _HEX else []
    if len(found) != 1:
        problem = "more than one run id starts with that" if found else "there is no such run"
        raise UserError(f"run {given!r}: {problem}")
    return found[0]


def exit_code(status: str, error: str | None) -> int:
    """0 for a completed run, with any errors printed to stderr; 1 for any other."""
    if status == RunStatus.COMPLETED:
        return 0
    if status == RunStatus.COMPLETED_WITH_ERRORS:
        print_message(f"the run completed with errors: {error or 'see run show'}")
        return 0
    print_message(f"the run is {status}: {error or 'see run show'}")
    return 1


@app.command("list")
def list_(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="Maximum number of runs.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List the latest runs, newest first."""

    async def read() -> list[dict[str, Any]]:
        from serpline.pipeline.report import run_summary, seconds_of
        from serpline.store.runs import runs

        async with services(ctx) as opened:
            async with opened.database.transaction() as conn:
                found = await runs.recent(conn, limit)
            now = opened.clock.now()
        return [{**run_summary(row), "seconds": seconds_of(row, now)} for row in found]

    found = run(read())
    if as_json:
        print_json(found)
    else:
        columns = ("id", "status", "mode", "created_at", "seconds", "schedule")
        rows = [[each[name] for name in columns] for each in found]
        last = [Column("seconds", drop=2), Column("schedule", drop=3)]
        show_table(["run", "status", Column("mode", drop=1), "created (UTC)", *last], rows)


async def print_report(
    opened: "Services", run_id: UUID, *, as_json: bool, with_events: bool = False
) -> dict[str, Any]:
    """Print a run as tables, or as a document that ends with its DSI. Returns the rest."""
    from serpline.pipeline.report import dsi_rows, run_report

    prices = prices_of(opened.settings)
    report = await run_report(opened.database, run_id, opened.clock.now())
    if with_events:
        async with opened.database.transaction() as conn:
            report["events"] = await read_events(conn, run_id)
    report["usd"] = {
        provider: prices.usd(provider, report["credits"].get(provider, 0))
        for provider in report["calls"]
    }
    if as_json:
        spool = Spool()
        async with opened.database.transaction() as conn, aclosing(dsi_rows(conn, run_id)) as rows:
            await spool_list(rows, spool, last_of=(report, "dsi"))
        print_spool(spool)
    else:
        show_report(report)
    return report


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
    for line in report["doing"]:
        typer.echo(terminal_text(line))
    missing = [row for row in report["collection"] if row["collected"] < row["planned"]]
    if missing:
        names = ("content_type", "market", "device", "planned", "collected")
        partly = [[row[name] for name in names] for row in missing[:MISSING_SHOWN_MAX]]
        show_table(["type", *names[1:]], partly, title="Not all searches were collected")
    if report["calls"]:
        # The demo's report has no prices: it shows what real providers would have charged.
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
            [f["phase_name"], f["content_type"], _item(f), f["error_category"], f["error"]]
            for f in report["failures"][:10]
        ]
        phase = Column("phase", drop=2, wraps=False)
        show_table([phase, "type", "failed item", Column("category", drop=1), "error"], failures)
    if "events" in report:
        show_events(report["events"])


def _item(failure: Mapping[str, Any]) -> str:
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
    parts = [lane["error"] or lane["note"]]
    if lane["source_run_id"] != run_id:
        parts.append(f"results of run {lane['source_run_id']}")
    return "; ".join(filter(None, parts)) or None


@app.command()
def show(
    ctx: typer.Context,
    run_id: RunId = "latest",
    events: Annotated[
        bool, typer.Option("--events", help="Also what happened, and what people did.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show a run: steps, what it waits for, spending, failures; with --json also its DSI."""

    async def read() -> None:
        async with services(ctx) as opened:
            found = await find_run(opened, run_id)
            await print_report(opened, found, as_json=as_json, with_events=events)

    run(read())


@app.command()
def watch(ctx: typer.Context, run_id: RunId = "latest", as_json: JsonFlag = False) -> int:
    """Show progress until a run ends. Exit code 0: completed; 1: failed or cancelled."""

    async def watch_run() -> dict[str, Any]:
        from serpline.cli.progress import follow

        async with services(ctx) as opened:
            found = await find_run(opened, run_id)
            await follow(opened, found, quiet=as_json, ctx=ctx)
            return await print_report(opened, found, as_json=as_json)

    report = run(watch_run())
    return exit_code(report["status"], report["error"])


@app.command()
def pause(ctx: typer.Context, run_id: RunId) -> None:
    """Pause a run: no new work starts; work in progress finishes."""
    run(_control(ctx, run_id, "pause"))


@app.command()
def resume(ctx: typer.Context, run_id: RunId) -> None:
    """Resume a paused run."""
    run(_control(ctx, run_id, "resume"))


@app.command()
def cancel(ctx: typer.Context, run_id: RunId) -> None:
    """Cancel a run. 'run retry' can reopen it."""
    run(_control(ctx, run_id, "cancel"))


async def _control(ctx: typer.Context, given: str, verb: str) -> None:
    async with services(ctx) as opened:
        found = await find_run(opened, given)
        await getattr(opened.pipeline, verb)(found, by=person())
    print_message(f"run {found}: {_PAST[verb]}")


@app.command()
def retry(
    ctx: typer.Context,
    run_id: RunId,
    phase: Annotated[
        PhaseName | None, typer.Option(metavar="PHASE", help="Only this phase.")
    ] = None,
    content_type: Annotated[
        ContentType | None, typer.Option(metavar="TYPE", help="Only this content type.")
    ] = None,
    item: Annotated[
        str | None, typer.Option(callback=require_utf8, help="Only this item; needs --phase.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Retry the failed items of an ended run: all, one phase's, one content type's, or one."""
    if item is not None and phase is None:
        raise UserError(f"--item {item!r}: give its phase with --phase")

    async def reopen() -> tuple[UUID, list[str]]:
        async with services(ctx) as opened:
            found = await find_run(opened, run_id)
            done = await opened.pipeline.retry(
                found, phase=phase, content_type=content_type, item=item, by=person()
            )
            return found, done.lanes

    found, lanes = run(reopen())
    if as_json:
        print_json({"run_id": found, "lanes": lanes})
    else:
        print_message(f"run {found}: reopened {', '.join(lanes)}")
