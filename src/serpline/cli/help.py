"""The commands as people see them in help: in panels, and flags without a type of value."""

from collections.abc import Sequence
from typing import Any

import typer


def command_of(app: typer.Typer, panels: Sequence[str]) -> Any:
    """The command of an application: its help has ``panels`` in this order, and plain flags."""
    command: Any = typer.main.get_command(app)
    places = {panel: place for place, panel in enumerate(panels)}
    # Typer lists all single commands before all groups.
    ordered = sorted(
        command.commands.items(),
        key=lambda each: places.get(each[1].rich_help_panel, len(places)),
    )
    command.commands = dict(ordered)
    _hide_types_of_flags(command)
    return command


def _hide_types_of_flags(command: Any) -> None:
    get_params = command.get_params

    def without_types(ctx: typer.Context) -> list[Any]:
        found: list[Any] = get_params(ctx)
        for parameter in found:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
        return found

    command.get_params = without_types
    for each in getattr(command, "commands", {}).values():
        _hide_types_of_flags(each)
