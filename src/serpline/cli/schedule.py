"""``serpline schedule``: preview, which needs no database, and stored schedules."""

from pathlib import Path
from typing import Annotated

import typer

from serpline.cli import backfills, schedule_doctor, schedule_proposals, schedule_stored
from serpline.cli.common import JsonFlag, print_json, print_message, show_table
from serpline.cli.schedule_stored import read_specs
from serpline.core.clock import SystemClock

schedule_app = typer.Typer(
    help="Keep schedules, and see what became of each time.", no_args_is_help=True
)
schedule_stored.register(schedule_app)
backfills.register(schedule_app)
schedule_proposals.register(schedule_app)
schedule_doctor.register(schedule_app)


@schedule_app.command("preview")
def preview(
    spec: Annotated[
        Path,
        typer.Argument(
            metavar="SPEC.json",
            help="JSON or YAML (.yaml, .yml) file: one specification, or a list of them.",
        ),
    ],
    count: Annotated[int, typer.Option(help="Number of times to show, 1 to 10000.")] = 10,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="ISO", help="Start after this time (UTC if it has no offset); default: now."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the next runs of a schedule: UTC, local time and content types."""
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
        columns = ["scheduled_for", "local", "content_types", "note"]
        for row in rows:
            for column in columns[:2]:
                row[column] = row[column].replace("T", " ")
        show_table(columns, [[row[column] for column in columns] for row in rows])
