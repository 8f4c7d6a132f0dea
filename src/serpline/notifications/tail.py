"""The tail: reads ``pipeline_events`` from a stored position, and writes deliveries.

Ids of events are in commit order, so what has been read up to an id is complete. A portion's
deliveries and the new position commit together: a killed process loses nothing and writes nothing
twice. Any number of processes may tail; the ``housekeeping`` row is held by one at a time.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from serpline.core.clock import Clock
from serpline.core.logging import get
from serpline.notifications import incidents
from serpline.notifications.incidents import Destination
from serpline.notifications.levels import Scopes, breaker_reports, budget_events
from serpline.notifications.report import Report, RunFacts
from serpline.notifications.reports import is_reported, report_of, unreadable
from serpline.store.database import Connection, Database
from serpline.store.maintenance import housekeeping
from serpline.store.maintenance.housekeeping import Task
from serpline.store.notifications import deliveries, destinations, watch
from serpline.store.notifications.watch import TASK
from serpline.store.runs import events

log = get(__name__)

EVENTS_MAX: Final = 500
LEVELS_SECONDS: Final = 60.0


class Tail:
    """Read events and levels for one process."""

    def __init__(
        self, database: Database, clock: Clock, scopes: Scopes, breaker_minutes: float
    ) -> None:
        self._database = database
        self._clock = clock
        self._scopes = scopes
        self._breaker_minutes = breaker_minutes

    async def read(self, *, levels: bool) -> bool:
        """Read a portion of the events, and the levels if asked; False if there may be no more."""
        async with self._database.transaction() as conn:
            held = await housekeeping.hold(conn, TASK)
            if held is None:
                return False
            told = await _destinations(conn)
            state = dict(held.state)
            reports: list[Report] = []
            found: Sequence[dict[str, Any]] = ()
            if told:
                found = await events.after(conn, state["cursor"], limit=EVENTS_MAX)
                reports = await _reports(conn, found)
                state["cursor"] = found[-1]["id"] if found else state["cursor"]
            else:
                state["cursor"] = await watch.last_event(conn)
            new_events = []
            # Another process may just have read the levels.
            if levels and _are_due(held):
                now = self._clock.now()
                state["levels_at"] = held.now.isoformat()
                if told:
                    reports += await breaker_reports(conn, now, self._breaker_minutes)
                new_events = await budget_events(conn, self._scopes(now))
            await _write(conn, reports, told)
            await housekeeping.write(conn, TASK, state, None)
            await events.append(conn, new_events)
        return len(found) == EVENTS_MAX or bool(new_events)


async def _destinations(conn: Connection) -> list[Destination]:
    return [
        Destination(row.name, row.events, row.schedules, row.since_id)
        for row in await destinations.rules(conn)
    ]


async def _reports(conn: Connection, found: Sequence[dict[str, Any]]) -> list[Report]:
    rows = [row for row in found if is_reported(row["event_type"])]
    known = await watch.runs(conn, {row["run_id"] for row in rows if row["run_id"] is not None})
    runs = {run_id: RunFacts(*facts) for run_id, facts in known.items()}
    reports = []
    for row in rows:
        try:
            report = report_of(row, runs)
        except Exception:
            log.exception("notify.unreadable", action="notify.unreadable", event_id=row["id"])
            report = unreadable(row)
        if report is not None:
            reports.append(report)
    return reports


def _are_due(held: Task) -> bool:
    last = held.state.get("levels_at")
    if last is None:
        return True
    return abs((held.now - datetime.fromisoformat(last)).total_seconds()) >= LEVELS_SECONDS


async def _write(conn: Connection, reports: Sequence[Report], told: Sequence[Destination]) -> None:
    if not reports:
        return
    keys = {key for one in reports for key in (one.incident, *one.closes)}
    is_open = await deliveries.open_incidents(conn, keys)
    named = await watch.named(conn, {one.schedule for one in reports if one.schedule})
    plan = incidents.plan(reports, told, is_open, named)
    rows = [
        {
            "id": new.id,
            "destination": new.destination,
            "kind": new.kind,
            "incident": new.incident,
            "is_open": new.is_open,
            "occurred_at": new.occurred_at.isoformat(),
            "note": new.note.to_json(),
        }
        for new in plan.new
    ]
    await deliveries.write(conn, plan.ended, rows)
