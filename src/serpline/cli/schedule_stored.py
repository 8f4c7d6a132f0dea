"""``serpline schedule add``, ``edit``, ``pause``, ``resume``, ``delete`` and ``trigger``."""

from collections.abc import Awaitable, Callable
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
    shown_path,
    split_list,
    warn_without_workers,
)
from serpline.cli.schedule_tables import show_cost, show_times
from serpline.cli.schedule_views import NameArgument, cost_of
from serpline.cli.times import minute
from serpline.core.person import person
from serpline.domain.errors import UserError

if TYPE_CHECKING:
    from serpline.scheduling.service import SchedulingService
    from serpline.scheduling.spec import ScheduleSpec

Reason = Annotated[
    str | None, typer.Option(help="Why, for those who read it later.", callback=require_utf8)
]
SpecFile = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC",
        help="File of one specification or a list, as JSON or YAML (.yaml, .yml); - is stdin.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the next times and the cost; store nothing.")
]


def add(
    ctx: typer.Context,
    name: NameArgument,
    spec: SpecFile,
    reason: Reason = None,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Store a schedule. Workers start its runs from now on."""
    specs = read_specs(spec)

    async def work() -> dict[str, Any]:
        async with services(ctx) as opened:
            added = await opened.schedules.add(name, specs, reason=reason, dry_run=dry_run)
            cost = await cost_of(opened, specs)
            if dry_run:
                return {**added, "cost_per_month": cost}
            _warn_without_runs(name, cost)
            await warn_without_workers(opened)
            return added

    found = run(work())
    if dry_run:
        _print_outlook(found, as_json)
    else:
        _print_changed(found, as_json)


def edit(
    ctx: typer.Context,
    name: NameArgument,
    spec: SpecFile,
    reason: Reason = None,
    version: Annotated[
        int | None, typer.Option(help="The version that you changed; another newest is refused.")
    ] = None,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Store a new version of a schedule. Past slots keep theirs.

    'schedule show ID --spec' prints the specifications to change.
    """
    specs = read_specs(spec)

    async def work() -> dict[str, Any]:
        async with services(ctx) as opened:
            before = None if dry_run else (await opened.schedules.get(name))["version"]
            edited = await opened.schedules.edit(
                name, specs, reason=reason, version=version, dry_run=dry_run
            )
            cost = await cost_of(opened, specs)
            if dry_run:
                return {**edited, "cost_per_month": cost}
            _warn_without_runs(name, cost)
            if edited["version"] == before:
                print_message(f"{name}: the specifications are those of the newest version")
            return edited

    found = run(work())
    if dry_run:
        _print_outlook(found, as_json)
    else:
        _print_changed(found, as_json)


def _change(
    ctx: typer.Context,
    name: str,
    as_json: bool,
    change: Callable[["SchedulingService"], Awaitable[None]],
) -> None:
    """Change a stored schedule and print it."""

    async def work() -> dict[str, Any]:
        async with services(ctx) as opened:
            await change(opened.schedules)
            return await opened.schedules.get(name)

    _print_changed(run(work()), as_json)


def pause(
    ctx: typer.Context, name: NameArgument, reason: Reason = None, as_json: JsonFlag = False
) -> None:
    """Start nothing more until resumed. Its times are skipped; running runs go on."""
    _change(ctx, name, as_json, lambda schedules: schedules.pause(name, reason=reason))


def resume(ctx: typer.Context, name: NameArgument, as_json: JsonFlag = False) -> None:
    """Start runs again, from the next time on."""
    _change(ctx, name, as_json, lambda schedules: schedules.resume(name))


def delete(
    ctx: typer.Context, name: NameArgument, reason: Reason = None, as_json: JsonFlag = False
) -> None:
    """Start nothing more, for good. Slots and versions stay; running runs go on."""
    _change(ctx, name, as_json, lambda schedules: schedules.delete(name, reason=reason))


def trigger(
    ctx: typer.Context,
    name: NameArgument,
    content_type: Annotated[
        list[str] | None,
        typer.Option(
            "--type", "--content-type", help="Only these content types; commas or repeat."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Start runs now, whether the schedule is due or paused."""
    chosen = split_list(content_type) or []

    async def work() -> list[str]:
        async with services(ctx) as opened:
            started = [
                str(each) for each in await opened.schedules.trigger(name, chosen, by=person())
            ]
            await warn_without_workers(opened)
            return [str(each) for each in started]

    run_ids = run(work())
    if as_json:
        print_json({"run_ids": run_ids})
        return
    for run_id in run_ids:
        print_message(f"{name}: run {run_id} started")


def read_specs(path: Path) -> tuple["ScheduleSpec", ...]:
    """Read a specification file. Raises ``UserError`` with the file and every fault."""
    from serpline.scheduling.documents import specs_from_json

    document = read_document(path)
    try:
        return specs_from_json(document)
    except UserError as error:
        raise UserError(f"{shown_path(path)}: {error}") from None


def _warn_without_runs(name: str, cost: dict[str, Any]) -> None:
    """Say on stderr why the schedule's runs cannot start yet."""
    if cost["error"]:
        print_message(f"{name}: no run can start yet: {cost['error']}")


def _print_outlook(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    show_times(found["next_times"], title="Next times; nothing was stored")
    show_cost(found["cost_per_month"])


def _print_changed(schedule: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(schedule)
        return
    due = f"next: {minute(schedule['next_at'])} UTC" if schedule["next_at"] else "no next time"
    print_message(f"{schedule['id']}: {schedule['status']}, version {schedule['version']}, {due}")
