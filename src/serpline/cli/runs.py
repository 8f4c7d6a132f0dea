"""``serpline run list|show|watch|pause|resume|cancel|retry``; ``start`` is in ``start``."""

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from serpline.cli.common import (
    JsonFlag,
    print_json,
    print_message,
    print_spool,
    run,
    services,
    spool_list,
)
from serpline.cli.prices import charged, prices_of
from serpline.cli.run_events import read_events
from serpline.cli.run_tables import show_report
from serpline.cli.tables import Column, show_table
from serpline.core.person import person
from serpline.core.spool import Spool
from serpline.domain.errors import UserError
from serpline.domain.states import RunStatus

if TYPE_CHECKING:
    from serpline.app.services import Services

app = typer.Typer(help="Start, watch and control runs.", no_args_is_help=True)

LIMIT_MAX = 10_000
_PAST = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}
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
    report["usd"] = charged(report, prices)
    if as_json:
        spool = Spool()
        async with opened.database.transaction() as conn, aclosing(dsi_rows(conn, run_id)) as rows:
            await spool_list(rows, spool, last_of=(report, "dsi"))
        print_spool(spool)
    else:
        show_report(report)
    return report


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
    """Show progress and what it waits for, until a run ends. Exit code 1: failed or cancelled."""

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
