"""Levels: breakers that are open for long, and budgets that are nearly spent.

A breaker's level makes reports. A budget's makes an event, which the tail reads like any other.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from serpline.notifications.note import Level, Note, clean, when
from serpline.notifications.report import Report
from serpline.store.database import Connection
from serpline.store.notifications import watch
from serpline.store.notifications.watch import EndedBreaker, OpenBreaker
from serpline.store.runs.events import Event

BREAKER = "breaker:"
_COMMAND = "serpline breakers list"
# The scopes of the current days and months, by the clock.
Scopes = Callable[[datetime], Sequence[str]]


async def breaker_reports(conn: Connection, now: datetime, open_minutes: float) -> list[Report]:
    """Report the breakers that have been open for ``open_minutes``, and those that are no more."""
    found = await watch.open_breakers(conn, now - timedelta(minutes=open_minutes))
    ended = await watch.ended_breakers(conn, BREAKER)
    return [*(_ended(one, now) for one in ended), *(_opened(one, now) for one in found)]


async def budget_events(conn: Connection, scopes: Sequence[str]) -> list[Event]:
    """Return the events of budgets of which 80 or 100 % is spent now; each comes once."""
    return [
        Event(
            f"budget.{one.percent}",
            detail={
                "provider": one.provider,
                "scope": one.scope,
                "spent": f"{one.spent.normalize():f}",
                "limit": f"{one.limit.normalize():f}",
            },
        )
        for one in await watch.crossed_budgets(conn, scopes)
    ]


def _opened(breaker: OpenBreaker, now: datetime) -> Report:
    minutes = round((now - breaker.opened_at).total_seconds() / 60)
    return _report(
        breaker.name,
        f"breaker-opened:{breaker.event_id}",
        breaker.opened_at,
        lasts=True,
        note=Note(
            Level.FAILURE,
            f"The breaker {clean(breaker.name, 200)} is open",
            "breakers are open",
            breaker.name,
            (f"It opened at {when(breaker.opened_at)}, {minutes} minutes ago.",),
            "Its provider fails. Calls are refused and work waits, without using attempts.",
            _COMMAND,
        ),
    )


def _ended(breaker: EndedBreaker, now: datetime) -> Report:
    state = breaker.state or "gone"
    by_hand = " It was isolated by hand." if state == "isolated" else ""
    return _report(
        breaker.name,
        f"breaker-ended:{breaker.event_id}",
        now,
        closes=(f"{BREAKER}{breaker.name}",),
        ending=Note(
            Level.SUCCESS if state == "closed" else Level.INFO,
            f"The breaker {clean(breaker.name, 200)} is {state}",
            f"breakers are {state}",
            breaker.name,
            (f"It was seen at {when(now)}.{by_hand}",),
            "Calls pass, and work that waited goes on." if state == "closed" else "",
            _COMMAND,
        ),
    )


def _report(name: str, source: str, at: datetime, **given: Any) -> Report:
    return Report(
        "breaker.open", source, at, f"{BREAKER}{name}", schedule=_schedule_of(name), **given
    )


def _schedule_of(breaker: str) -> str | None:
    """The schedule that a breaker like ``scale_serp_api@schedule/type`` is for."""
    owner = breaker.partition("@")[2].rpartition("/")[0]
    try:
        UUID(owner)
    except ValueError:
        return owner or None
    return None  # a run's own breaker
