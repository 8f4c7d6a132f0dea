"""The demo's closing schedule: stored, paused, with its next times and its cost per month.

It is paused because its runs would ask real providers, and the demo's results are simulated.
"""

from typing import TYPE_CHECKING, Any

import typer

from serpline.cli.schedule_tables import show_cost, show_times
from serpline.cli.schedule_views import cost_of

if TYPE_CHECKING:
    from serpline.app.services import Services

NAME = "demo"
REASON = "the demo collects nothing more"
_TIMES = {"time_of_day": "06:00", "timezone": "Europe/Berlin"}
_SPECS = (
    {"content_types": ["news", "video"], "frequency": "daily", **_TIMES},
    {"content_type": "organic", "frequency": "weekly", **_TIMES},
)


async def add_schedule(opened: "Services", landscape: str) -> dict[str, Any]:
    """Store a paused schedule over the demo's keywords; return it with its cost per month."""
    from serpline.scheduling.documents import specs_from_json

    specs = specs_from_json([{**spec, "landscape": landscape} for spec in _SPECS])
    # An earlier demo in the same database has taken the name.
    is_taken = any(row["id"] == NAME for row in await opened.schedules.listed(deleted=True))
    name = landscape if is_taken else NAME
    await opened.schedules.add(name, specs, reason="made by serpline demo")
    await opened.schedules.pause(name, reason=REASON)
    found = await opened.schedules.get(name)
    return {**found, "cost_per_month": await cost_of(opened, specs)}


def show_schedule(schedule: dict[str, Any]) -> None:
    """Print the schedule: when it would be due, and what a month would cost."""
    title = f"Schedule {schedule['id']!r}, paused: news and video daily, organic on Mondays"
    show_times(schedule["next_times"], title=title)
    show_cost(schedule["cost_per_month"])
    typer.echo()
