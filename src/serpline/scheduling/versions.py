"""Versions of a stored schedule: what a new one must fulfil, and what changes with it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from serpline.scheduling.changes import check_edit, check_new, check_reason, written_specs
from serpline.scheduling.deciding import decide_until_now
from serpline.scheduling.health import content_types_of, targets_of
from serpline.scheduling.policy import next_instant
from serpline.scheduling.provider_calendar import check_provider_driven
from serpline.scheduling.provider_driver import TASK as PROVIDER_TASK
from serpline.scheduling.spec import ScheduleSpec
from serpline.store.database import Connection
from serpline.store.maintenance import housekeeping
from serpline.store.runs.events import Event
from serpline.store.schedules import lanes, schedules, slots
from serpline.store.schedules.schedules import ScheduleRow


class Versions:
    """Store versions. The provider's account starts its batches in ``provider_zone``."""

    def __init__(self, provider_zone: ZoneInfo) -> None:
        self._provider_zone = provider_zone

    def check(self, specs: Sequence[ScheduleSpec], now: datetime) -> None:
        """Raise ``UserError`` for specifications that can be no version from now on."""
        check_new(specs, now)
        check_provider_driven(specs, self._provider_zone, now)

    async def replace(
        self,
        conn: Connection,
        row: ScheduleRow,
        specs: Sequence[ScheduleSpec],
        now: datetime,
        reason: str | None,
    ) -> list[Event]:
        """Store the next version of a locked schedule; return the events to write last."""
        self.check(specs, now)
        await housekeeping.make_due(conn, PROVIDER_TASK)
        check_edit(row, specs, await slots.first_decided(conn, row.id))
        written = await decide_until_now(conn, row, now)
        await self.add(conn, row, specs, now, reason)
        return [*written, schedule_event("changed", row.id, version=row.version + 1, reason=reason)]

    async def add(
        self,
        conn: Connection,
        row: ScheduleRow,
        specs: Sequence[ScheduleSpec],
        now: datetime,
        reason: str | None,
    ) -> None:
        """Store the next version of a locked schedule whose instants up to now are decided."""
        check_reason(reason)
        await schedules.add_version(conn, row.id, written_specs(specs), now, reason=reason)
        targets = {
            str(kind): targets_of(specs, kind).freshness_seconds for kind in content_types_of(specs)
        }
        await lanes.set_targets(conn, row.id, targets, now)
        await set_next(conn, row, specs)


async def set_next(conn: Connection, row: ScheduleRow, specs: Sequence[ScheduleSpec]) -> None:
    """Store the next instant after the cursor, which other statements may have moved."""
    until = await schedules.cursor(conn, row.id)
    await schedules.move_cursors(conn, [(row.id, until, next_instant(specs, until))])


def schedule_event(what: str, name: str, **detail: Any) -> Event:
    """The event of a change of a schedule; details that are None are left out."""
    given = {key: value for key, value in detail.items() if value is not None}
    return Event(f"schedule.{what}", detail={"schedule": name, **given})
