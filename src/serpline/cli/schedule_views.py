"""``serpline schedule list``, ``show`` and ``slots``: what is stored, and what became of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serpline.cli.common import JsonFlag, print_json, print_message, read_name, run, services
from serpline.cli.prices import providers_of
from serpline.cli.schedule_tables import (
    show_cost,
    show_health,
    show_provider_batches,
    show_schedules,
    show_slots,
    show_times,
    show_versions,
)
from serpline.cli.tables import format_cell
from serpline.cli.times import first_time, last_time, minute
from serpline.domain.errors import UserError
from serpline.domain.names import SEARCHED_TYPES, ContentType
from serpline.domain.states import SlotOutcome

if TYPE_CHECKING:
    from serpline.app.services import Services
    from serpline.scheduling.spec import ScheduleSpec

NameArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Name of the schedule.", callback=read_name)
]


def list_schedules(
    ctx: typer.Context,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List schedules with their next time, and what became of the last one."""

    async def work() -> list[dict[str, Any]]:
        async with services(ctx) as opened:
            return await opened.schedules.listed(deleted=deleted)

    rows = run(work())
    if as_json:
        print_json(rows)
    elif rows:
        show_schedules(rows)
    else:
        print_message("there is no schedule yet: add one with 'serpline schedule add'")


def show(
    ctx: typer.Context,
    name: NameArgument,
    version: Annotated[
        int | None, typer.Option(help="The version whose specifications to show.")
    ] = None,
    spec: Annotated[
        bool, typer.Option("--spec", help="Print only the specifications, as 'edit' reads them.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show a schedule: next times, health, cost per month, versions and specifications."""

    async def work() -> dict[str, Any]:
        async with services(ctx) as opened:
            found = await opened.schedules.get(name)
            if version is not None or spec:
                return found
            return {**found, "cost_per_month": await _stored_cost(opened, found["specs"])}

    found = run(work())
    if version is not None:
        found["specs"] = _specs_of(found, version)
    if spec:
        print_json(found["specs"])
    elif as_json:
        print_json(found)
    else:
        _show(found, version)


def slots(
    ctx: typer.Context,
    name: NameArgument,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="ISO", help="From this time or day on (UTC)."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", metavar="ISO", help="Until this time or the end of this day (UTC)."),
    ] = None,
    content_type: Annotated[
        list[str] | None,
        typer.Option(
            "--type", "--content-type", help="Only these content types; commas or repeat."
        ),
    ] = None,
    outcome: Annotated[
        list[str] | None,
        typer.Option(help="Only these outcomes: due, started, skipped, missed …"),
    ] = None,
    limit: Annotated[int, typer.Option(help="Number of slots, 1 to 10000.")] = 100,
    as_json: JsonFlag = False,
) -> None:
    """Show what became of a schedule's times and why, newest first."""
    bounds: dict[str, datetime | None] = {
        "since": None if since is None else first_time("--from", since),
        "until": None if until is None else last_time("--to", until),
    }
    kinds = [ContentType(kind) for kind in _chosen("--type", content_type, SEARCHED_TYPES)]
    outcomes = [SlotOutcome(each) for each in _chosen("--outcome", outcome, list(SlotOutcome))]

    async def work() -> list[dict[str, Any]]:
        async with services(ctx) as opened:
            return await opened.schedules.slots(
                name, limit=limit, content_types=kinds, outcomes=outcomes, **bounds
            )

    rows = run(work())
    if as_json:
        print_json(rows)
        return
    if rows:
        show_slots(rows)
    else:
        print_message(f"schedule {name!r} has no such slot: 'schedule show' has its next times")
    if len(rows) == limit:
        print_message(f"only the newest {limit}: --limit, --from and --to show others")


async def cost_of(opened: "Services", specs: "Sequence[ScheduleSpec]") -> dict[str, Any]:
    """What a schedule costs per month, as ``scheduling.cost`` estimates it."""
    from serpline.scheduling.cost import monthly_cost

    providers = providers_of(opened.settings)
    async with opened.database.transaction() as conn:
        return await monthly_cost(conn, specs, opened.clock.now(), providers)


async def _stored_cost(opened: "Services", specs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """As ``cost_of``, also of specifications that this release does not read any more."""
    from serpline.scheduling.documents import stored_specs

    try:
        return await cost_of(opened, stored_specs(specs))
    except UserError as error:
        return {"runs": None, "searches": None, "providers": {}, "error": str(error)}


def _chosen(option: str, given: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    from serpline.cli.common import split_list

    found = split_list(given) or []
    for each in found:
        if each not in known:
            raise UserError(f"{option}={each!r}: must be one of {', '.join(known)}")
    return found


def _specs_of(schedule: dict[str, Any], version: int) -> list[dict[str, Any]]:
    from serpline.scheduling.views import in_order

    for each in schedule["versions"]:
        if each["version"] == version:
            return [in_order(spec) for spec in each["specs"]]
    raise UserError(
        f"--version={version}: schedule {schedule['id']!r} has versions 1 to {schedule['version']}"
    )


def _show(schedule: dict[str, Any], version: int | None) -> None:
    if version is None:
        typer.echo(format_cell(f"{schedule['id']}: {_status(schedule)}"))
        typer.echo()
        if schedule["next_times"]:
            is_paused = schedule["status"] == "paused"
            title = "Next times; they are skipped while it is paused" if is_paused else "Next times"
            show_times(schedule["next_times"], title=title)
        show_health(schedule)
        show_cost(schedule["cost_per_month"])
        show_provider_batches(schedule["provider_batches"])
        show_versions(schedule["versions"])
    typer.echo(f"Specifications of version {version or schedule['version']}:")
    print_json(schedule["specs"])


def _status(schedule: dict[str, Any]) -> str:
    words = f"{schedule['status']}, version {schedule['version']}"
    if schedule["paused_at"] is not None:
        since = f"since {minute(schedule['paused_at'])} UTC"
        return f"{words}; paused {since}: {schedule['pause_reason'] or 'by hand'}"
    if schedule["next_at"] is None and schedule["status"] == "active":
        return f"{words}; it is never due again"
    return words
