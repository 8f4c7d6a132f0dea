"""Events of a run in words: what people did, and what happened."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from serpline.cli.tables import show_table

if TYPE_CHECKING:
    from serpline.store.database import Connection

EVENTS_MAX = 10_000

# What a person did, without the person. ``{…}``: from the detail.
_ACTIONS = {
    "run.created": "started",
    "run.pause": "paused",
    "run.resume": "resumed",
    "run.cancel": "cancelled",
    "run.retry": "retried",
    "breaker.reset": "breaker {breaker} closed",
    "breaker.isolate": "breaker {breaker} isolated",
    "budget.raise": "credit limit of {provider} raised",
}
_STEPS = {
    "lane.start": "started",
    "lane.complete": "completed",
    "lane.fail": "failed",
    "lane.block": "blocked",
    "lane.skip": "skipped",
    "lane.retry": "is tried again",
}


async def read_events(conn: "Connection", run_id: UUID) -> list[dict[str, Any]]:
    """Return a run's events, oldest first: its first ``EVENTS_MAX``."""
    from serpline.store.runs import events

    return await events.of_run(conn, run_id, limit=EVENTS_MAX)


def is_action(event: Mapping[str, Any]) -> bool:
    """Whether a person did it."""
    return event["event_type"] in _ACTIONS


def words(event: Mapping[str, Any]) -> str:
    """An event in words. Its detail may hold any text; what is missing is left out."""
    kind, detail = event["event_type"], event["detail"]
    if kind in _ACTIONS:
        said = _ACTIONS[kind].format_map({"breaker": "?", "provider": "?", **detail})
        return f"{said} by {detail['by']}" if detail.get("by") else said
    if kind in _STEPS:
        said = f"{event['phase_name']}/{event['content_type']} {_STEPS[kind]}"
    else:
        named = [detail.get("batch") or event["content_type"]]
        said = " ".join([kind.replace(".", " ").replace("_", " "), *filter(None, named)])
    reason = detail.get("reason") or detail.get("error")
    return f"{said}: {reason}" if reason else said


def show_events(events: Sequence[Mapping[str, Any]]) -> None:
    """Print events as a table."""
    rows = [[event["occurred_at"], words(event)] for event in events]
    show_table(["time (UTC)", "event"], rows)
