"""``serpline schedule backfill`` and ``schedule backfills``: fill past slots, and watch it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from serpline.cli.common import (
    JsonFlag,
    print_json,
    print_message,
    run,
    services,
    split_list,
    warn_without_workers,
)
from serpline.cli.costs import amount
from serpline.cli.prices import providers_of
from serpline.cli.schedule_views import NameArgument
from serpline.cli.tables import Column, show_table
from serpline.cli.times import first_time, last_time, minute
from serpline.domain.errors import UserError
from serpline.domain.schedules import BackfillKind

if TYPE_CHECKING:
    from serpline.app.services import Services
    from serpline.scheduling.backfill import BackfillService

Credits = Annotated[
    list[str] | None,
    typer.Option(
        "--credits",
        metavar="[PROVIDER=]N",
        help="Credits that all runs together may spend; without a name: of scaleserp.",
    ),
]
_CHANGES = ("pause", "resume", "cancel")
_SHOWN = ("id", "kind", "status", "slots (UTC)", "progress", "credits", "reason")


def register(app: typer.Typer) -> None:
    """Add the commands to the group ``schedule``."""
    app.command("backfill")(backfill)
    app.command("backfills")(backfills)


def backfill(
    ctx: typer.Context,
    name: NameArgument,
    first: Annotated[
        str, typer.Option("--from", metavar="ISO", help="The first time or day (UTC) to fill.")
    ],
    last: Annotated[
        str, typer.Option("--to", metavar="ISO", help="The last time or day (UTC) to fill.")
    ],
    kind: Annotated[
        BackfillKind,
        typer.Option(
            help="refetch: result sets that the provider still holds; late: new searches, marked"
            " late; recompute: stored replies, without a call."
        ),
    ] = BackfillKind.REFETCH,
    at_once: Annotated[int, typer.Option(help="Runs at once, 1 to 100.")] = 1,
    credits_: Credits = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show slots and cost; start nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Fill past slots of a schedule, the newest first. Figures of earlier runs stay as they are."""
    from serpline.scheduling.backfill import BackfillRequest

    request = BackfillRequest(
        name,
        first_time("--from", first),
        last_time("--to", last),
        kind,
        at_once,
        _limits(split_list(credits_) or []),
    )

    async def work() -> dict[str, Any]:
        async with services(ctx) as opened:
            found = _service(opened)
            if dry_run:
                return await found.plan(request)
            started = await found.start(request)
            await warn_without_workers(opened)
            return started

    made = run(work())
    if as_json:
        print_json(made)
    elif dry_run:
        _show_plan(made)
    else:
        slots, runs = made["slots"]["total"], made["estimate"]["runs"]
        progress = "'serpline schedule backfills' shows its progress"
        print_message(f"{name}: backfill {made['id']}: {slots} slots, {runs} runs; {progress}")


def backfills(
    ctx: typer.Context,
    name: NameArgument,
    change: Annotated[
        str | None, typer.Argument(help="pause, resume or cancel; without it: list them.")
    ] = None,
    number: Annotated[
        int | None, typer.Argument(help="The backfill; default: the only one that has not ended.")
    ] = None,
    credits_: Credits = None,
    as_json: JsonFlag = False,
) -> None:
    """List the backfills of a schedule with their progress, or pause, resume or cancel one.

    'resume --credits' gives it other limits, such as one whose credits are spent needs.
    """
    if change is not None and change not in _CHANGES:
        raise UserError(f"{change!r}: must be one of {', '.join(_CHANGES)}")
    limits = _limits(split_list(credits_) or [])
    if limits and change != "resume":
        raise UserError(f"--credits {','.join(credits_ or [])!r}: only resume takes new limits")

    async def work() -> list[dict[str, Any]]:
        async with services(ctx) as opened:
            found = _service(opened)
            if change is not None:
                return [await found.change(name, change, number, credit_limits=limits)]
            return await found.listed(name)

    rows = run(work())
    if as_json:
        print_json(rows[0] if change else rows)
        return
    if rows:
        columns = [Column(name, drop=int(name == "credits")) for name in _SHOWN]
        show_table(columns, [[_cell(row, name) for name in _SHOWN] for row in rows])
    else:
        print_message(f"schedule {name!r} has no backfills")


def _service(opened: "Services") -> "BackfillService":
    from serpline.scheduling.backfill import BackfillService

    return BackfillService(opened.database, opened.clock, providers_of(opened.settings))


def _limits(given: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in given:
        provider, is_named, amount = text.rpartition("=")
        try:
            limit = float(amount)
        except ValueError:
            limit = -1.0
        if not 0 <= limit < 1e12:
            raise UserError(f"--credits {text!r}: must be a number, 0 or more, or PROVIDER=number")
        found[provider if is_named else "scaleserp"] = limit
    return found


def _cell(row: dict[str, Any], column: str) -> Any:
    slots = row["slots"]
    match column:
        case "slots (UTC)":
            return f"{minute(row['from'])} to {minute(row['to'])}"
        case "progress":
            waiting = slots.get("waiting", 0) + slots.get("running", 0)
            failed = f", {slots['failed']} failed" if slots.get("failed") else ""
            return f"{slots['total'] - waiting} of {slots['total']}{failed}"
        case "credits":
            return ", ".join(f"{name} {spent:g}" for name, spent in row["credits"].items()) or None
    return row[column]


def _show_plan(plan: dict[str, Any]) -> None:
    rows = [
        [minute(slot["scheduled_for"]), slot["content_type"], slot["outcome"], slot["reason"]]
        for slot in plan["slots"]
    ]
    show_table(["time (UTC)", "type", "outcome", "reason"], rows)
    estimate = plan["estimate"]
    costs = [
        [provider, cost["calls"], amount(provider, cost["credits"]), cost["usd"], cost["basis"]]
        for provider, cost in estimate["providers"].items()
    ]
    title = f"{estimate['runs']} runs; nothing was spent"
    if not costs:
        print_message(f"{title}: {estimate['basis']}")
        return
    show_table(["provider", "calls", "cost", "US$ (–: by contract)", "basis"], costs, title=title)
