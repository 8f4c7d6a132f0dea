"""``serpline schedule preview``. It needs no database."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serpline.cli.common import JsonFlag, print_json, print_message, read_document, show_table
from serpline.core.clock import SystemClock
from serpline.domain.errors import UserError

if TYPE_CHECKING:
    from serpline.scheduling.spec import ScheduleSpec

schedule_app = typer.Typer(help="Preview schedules.", no_args_is_help=True)


@schedule_app.callback()
def _schedules() -> None:
    # Without a callback, Typer drops the name of a group's only command.
    """Preview schedules."""


@schedule_app.command("preview")
def preview(
    spec: Annotated[
        Path,
        typer.Argument(
            metavar="SPEC.json", help="JSON file: one specification, or a list of them."
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

    specs = _read(spec)
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


def _read(path: Path) -> tuple["ScheduleSpec", ...]:
    from serpline.scheduling.documents import specs_from_json

    document = read_document(path)
    try:
        return specs_from_json(document)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
