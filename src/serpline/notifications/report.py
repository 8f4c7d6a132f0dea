"""A report: what an event means for those who may hear of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from serpline.notifications.note import Note


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of a run. ``schedule`` None: a person started it."""

    schedule: str | None = None
    scheduled_for: datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """An event that people may hear of. ``source`` identifies it.

    ``lasts``: its incident stays open until another report ``closes`` it. A repetition of an open
    incident is not told, unless it is ``again``. ``ending`` is for those who heard of an incident
    that this report closes. ``note`` is for those who chose the kind.
    """

    kind: str
    source: str
    occurred_at: datetime
    incident: str
    schedule: str | None = None
    note: Note | None = None
    ending: Note | None = None
    closes: tuple[str, ...] = ()
    lasts: bool = False
    again: bool = False
    after: int | None = None


# A row of ``pipeline_events``.
Row = Mapping[str, Any]
Runs = Mapping[UUID, RunFacts]


def made(event: Row, incident: str, **given: Any) -> Report:
    """Return the report of an event. ``incident``: the key of what it is about."""
    return Report(
        kind=event["event_type"],
        source=f"event:{event['id']}",
        occurred_at=event["occurred_at"],
        incident=incident,
        after=event["id"],
        **given,
    )
