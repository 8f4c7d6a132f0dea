"""``serpline schedule add``, ``edit``, ``list``, ``show``, ``slots`` and the changes by hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serpline.cli.common import (
    JsonFlag,
    print_json,
    print_message,
    read_document,
    require_utf8,
    run,
    services,
    show_table,
    split_list,
)
from serpline.domain.errors import UserError

if TYPE_CHECKING:
    from serpline.scheduling.spec import ScheduleSpec

_SLOT_COLUMNS = (
    "scheduled_for",
    "content_type",
    "outcome",
    "started_at",
    "lateness_seconds",
    "run_status",
    "reason",
    "run_id",
)

NameArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Name of the schedule.", callback=require_utf8)
]
Reason = Annotated[
    str | None, typer.Option(help="Why, for those who read it later.", callback=require_utf8)
]
SpecFile = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC.json",
        help="JSON or YAML (.yaml, .yml) file: one specification, or a list of them.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the group ``schedule``."""
    app.command("add")(add)
    app.command("edit")(edit)
    app.command("list")(list_schedules)
    app.command("show")(show)
    app.command("slots")(slots)
    app.command("pause")(pause)
    app.command("resume")(resume)
    app.command("delete")(delete)
    app.command("trigger")(trigger)


def add(
    ctx: typer.Context,
    name: NameArgument,
    spec: SpecFile,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Store a schedule. Workers start its runs from now on."""
    specs = read_specs(spec)

    async def work() -> dict[str, Any]:
        async with services(ctx) as opened:
            return await opened.schedules.add(name, specs, reason=reason)

    _print_changed(run(work()), as_json)


def edit(
    ctx: typer.Context,
    name: NameArgument,
    spec: SpecFile,
    reason: Reason = None,
    version: Annotated[
        int | None, typer.Option(help="The version that you changed; another newest is refused.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Store a new version of a schedule. Past slots keep theirs."""
    specs = read_specs(spec)

    async def work() -> dict[str, Any]:
        async with services(ctx) as opened:
            return await opened.schedules.edit(name, specs, reason=reason, version=version)

    _print_changed(run(work()), as_json)


def list_schedules(
    ctx: typer.Context,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List schedules with their status and next time (UTC)."""

    async def work() -> list[dict[str, Any]]:
        async with services(ctx) as opened:
            return await opened.schedules.listed(deleted=deleted)

    rows = run(work())
    if as_json:
        print_json(rows)
        return
    columns = ("id", "status", "version", "content_types", "next_at", "pause_reason")
    show_table(columns, [[row[column] for column in columns] for row in rows])


def show(ctx: typer.Context, name: NameArgument, as_json: JsonFlag = False) -> None:
    """Show a schedule: status, next time, content types, specifications and versions."""

    async def work() -> dict[str, Any]:
        async with services(ctx) as opened:
            return await opened.schedules.get(name)

    found = run(work())
    if as_json:
        print_json(found)
        return
    specs, lanes, versions = found.pop("specs"), found.pop("lanes"), found.pop("versions")
    show_table(("key", "value"), [row for row in found.items() if row[1] is not None])
    if lanes:
        show_table(list(lanes[0]), [list(lane.values()) for lane in lanes])
    rows = [(each["version"], each["created_at"], each["reason"]) for each in versions]
    show_table(("version", "since", "reason"), rows)
    print_json(specs)


def slots(
    ctx: typer.Context,
    name: NameArgument,
    since: Annotated[
        str | None, typer.Option("--from", metavar="ISO", help="From this time on (UTC).")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="ISO", help="Until this time (UTC).")
    ] = None,
    limit: Annotated[int, typer.Option(help="Number of slots, 1 to 10000.")] = 100,
    as_json: JsonFlag = False,
) -> None:
    """Show what became of a schedule's times, newest first."""
    from serpline.config.model import read_value
    from serpline.scheduling.values import INSTANT

    bounds = {
        "since": None if since is None else read_value(INSTANT, "--from", since),
        "until": None if until is None else read_value(INSTANT, "--to", until),
    }

    async def work() -> list[dict[str, Any]]:
        async with services(ctx) as opened:
            return await opened.schedules.slots(name, limit=limit, **bounds)

    rows = run(work())
    if as_json:
        print_json(rows)
    else:
        show_table(_SLOT_COLUMNS, [[row[column] for column in _SLOT_COLUMNS] for row in rows])


def pause(
    ctx: typer.Context, name: NameArgument, reason: Reason = None, as_json: JsonFlag = False
) -> None:
    """Start nothing more until resumed. Its times are skipped; running runs go on."""

    async def work() -> dict[str, Any]:
        async with services(ctx) as opened:
            await opened.schedules.pause(name, reason=reason)
            return await opened.schedules.get(name)

    _print_changed(run(work()), as_json)


def resume(ctx: typer.Context, name: NameArgument, as_json: JsonFlag = False) -> None:
    """Start runs again, from the next time on."""

    async def work() -> dict[str, Any]:
        async with services(ctx) as opened:
            await opened.schedules.resume(name)
            return await opened.schedules.get(name)

    _print_changed(run(work()), as_json)


def delete(
    ctx: typer.Context, name: NameArgument, reason: Reason = None, as_json: JsonFlag = False
) -> None:
    """Start nothing more, for good. Slots and versions stay; running runs go on."""

    async def work() -> dict[str, Any]:
        async with services(ctx) as opened:
            await opened.schedules.delete(name, reason=reason)
            return await opened.schedules.get(name)

    _print_changed(run(work()), as_json)


def trigger(
    ctx: typer.Context,
    name: NameArgument,
    content_type: Annotated[
        list[str] | None,
        typer.Option("--content-type", help="Only these content types; commas or repeat."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Start runs now, whether the schedule is due or paused."""
    chosen = split_list(content_type) or []

    async def work() -> list[str]:
        async with services(ctx) as opened:
            return [str(each) for each in await opened.schedules.trigger(name, chosen)]

    run_ids = run(work())
    if as_json:
        print_json({"run_ids": run_ids})
        return
    for run_id in run_ids:
        print_message(f"started {run_id}")


def read_specs(path: Path) -> tuple["ScheduleSpec", ...]:
    """Read a specification file. Raises ``UserError`` with the file and every fault."""
    from serpline.scheduling.documents import specs_from_json

    document = read_document(path)
    try:
        return specs_from_json(document)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _print_changed(schedule: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(schedule)
        return
    due = schedule["next_at"] or "no next time"
    print_message(
        f"{schedule['id']}: {schedule['status']}, version {schedule['version']}, next: {due}"
    )
