"""``serpline schedule``: preview, which needs no database, and stored schedules."""

from typing import Annotated

import typer

from serpline.cli import (
    backfills,
    schedule_doctor,
    schedule_proposals,
    schedule_stored,
    schedule_views,
)
from serpline.cli.common import JsonFlag, print_json, print_message
from serpline.cli.schedule_stored import SpecFile, read_specs
from serpline.cli.schedule_tables import show_times
from serpline.core.clock import SystemClock

schedule_app = typer.Typer(
    help="Keep schedules, and see what became of each time.", no_args_is_help=True
)


def preview(
    spec: SpecFile,
    count: Annotated[int, typer.Option(help="Number of times to show, 1 to 10000.")] = 10,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="ISO", help="Start after this time (UTC if it has no offset); default: now."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show when a specification would be due: UTC, local time and content types of each run."""
    from serpline.config.model import read_value
    from serpline.scheduling.merging import preview as preview_rows
    from serpline.scheduling.values import INSTANT

    specs = read_specs(spec)
    start = SystemClock().now() if after is None else read_value(INSTANT, "--after", after)
    rows = preview_rows(specs, count, start)
    if len(rows) < count:
        print_message(f"only {len(rows)} of {count}: no more within 100 years")
    if as_json:
        print_json(rows)
    else:
        show_times(rows)


# In the order of the help.
schedule_app.command("add")(schedule_stored.add)
schedule_app.command("edit")(schedule_stored.edit)
schedule_app.command("list")(schedule_views.list_schedules)
schedule_app.command("show")(schedule_views.show)
schedule_app.command("preview")(preview)
schedule_app.command("slots")(schedule_views.slots)
schedule_app.command("pause")(schedule_stored.pause)
schedule_app.command("resume")(schedule_stored.resume)
schedule_app.command("trigger")(schedule_stored.trigger)
schedule_app.command("delete")(schedule_stored.delete)
backfills.register(schedule_app)
schedule_proposals.register(schedule_app)
schedule_doctor.register(schedule_app)
