"""``serpline schedule proposals|accept|refuse|take-back``."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serpline.cli.common import (
    JsonFlag,
    print_json,
    print_message,
    read_name,
    require_utf8,
    run,
    services,
)
from serpline.cli.tables import Column, show_table

if TYPE_CHECKING:
    from serpline.scheduling.service import SchedulingService

Number = Annotated[int, typer.Argument(help="Number of the proposal, as in 'schedule proposals'.")]
Reason = Annotated[
    str | None, typer.Option(callback=require_utf8, help="Why, for those who read it later.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the group."""
    app.command("proposals")(proposals)
    app.command("accept")(accept)
    app.command("refuse")(refuse)
    app.command("take-back")(take_back)


def proposals(
    ctx: typer.Context,
    schedule: Annotated[
        str | None, typer.Argument(callback=read_name, help="Only of this schedule.")
    ] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only those not decided yet.")] = False,
    limit: Annotated[int, typer.Option(help="The most to show, 1 to 1000.")] = 100,
    as_json: JsonFlag = False,
) -> None:
    """List proposed changes of schedules, with the evidence, newest first.

    'promised' is the share of slots in trouble without the pattern; 'since' is what the slots after
    the acceptance did.
    """
    found = run(
        _with_service(ctx, lambda made: made.proposals(schedule, only_open=only_open, limit=limit))
    )
    if as_json:
        print_json(found)
        return
    if not found:
        print_message("there is no proposal")
        return
    columns = ["id", "schedule", "content_type", "status", "summary", "promised", "since"]
    rows = [[_cell(row, name) for name in columns] for row in found]
    drops = {"since": 1, "promised": 2}
    named = [Column(name.removeprefix("content_"), drop=drops.get(name, 0)) for name in columns]
    show_table(named, rows)


def accept(ctx: typer.Context, number: Number, as_json: JsonFlag = False) -> None:
    """Make a proposed change a new version of the schedule."""
    row = run(_with_service(ctx, lambda made: made.accept(number)))
    _show(row, as_json, f"schedule {row['schedule']!r} has version {row['version_after']}")


def refuse(
    ctx: typer.Context, number: Number, reason: Reason = None, as_json: JsonFlag = False
) -> None:
    """Refuse a proposal. It is not made again about the same version of the schedule."""
    row = run(_with_service(ctx, lambda made: made.refuse(number, reason=reason)))
    _show(row, as_json, "nothing changed")


def take_back(
    ctx: typer.Context, number: Number, reason: Reason = None, as_json: JsonFlag = False
) -> None:
    """Undo an accepted proposal: a new version with the specifications from before it."""
    row = run(_with_service(ctx, lambda made: made.take_back(number, reason=reason)))
    _show(row, as_json, f"schedule {row['schedule']!r} is as in version {row['version_before']}")


async def _with_service(
    ctx: typer.Context, act: Callable[["SchedulingService"], Awaitable[Any]]
) -> Any:
    async with services(ctx) as opened:
        return await act(opened.schedules)


def _show(row: dict[str, Any], as_json: bool, what: str) -> None:
    if as_json:
        print_json(row)
    else:
        print_message(f"proposal {row['id']} is {row['status'].replace('_', ' ')}: {what}")


def _cell(row: dict[str, Any], name: str) -> Any:
    if name == "promised":
        return f"{row['promised']:.0%}"
    if name == "since" and row["since"] is not None:
        return f"{row['since']['bad']} of {row['since']['total']}"
    return row[name]
