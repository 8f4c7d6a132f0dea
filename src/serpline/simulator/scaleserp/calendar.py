"""The calendar of a batch: the instants at which it starts by itself.

Documented (docs.trajectdata.com/scaleserp, "Create Batch", "Update Batch", and the product updates
of August 2021): ``schedule_type`` is monthly, weekly, daily, minutes or manual. ``schedule_hours``
are 0 to 23, ``schedule_days_of_week`` 0 (Sunday) to 6, ``schedule_days_of_month`` 1 to 31. Values
are lists or comma-separated text. ``schedule_minutes`` (``every_5_minutes``, …) may be restricted
to hours and days. A schedule runs in the time zone of the account's profile.

Undocumented, chosen here: a day that the month does not have and a local hour that a clock change
skips are left out; a repeated hour counts once; a schedule without its lists never runs.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

_MINUTES = re.compile(r"every_(?:(\d{1,2})_)?(minute|minutes|hour)")
LISTS = ("schedule_hours", "schedule_days_of_week", "schedule_days_of_month")


def due_between(
    fields: Mapping[str, Any], zone: ZoneInfo, after: datetime, until: datetime
) -> list[datetime]:
    """The instants in (``after``, ``until``], soonest first, in UTC."""
    kind = fields.get("schedule_type", "manual")
    if kind == "manual":
        return []
    found = []
    day, last = after.astimezone(zone).date(), until.astimezone(zone).date()
    while day <= last:
        if _is_day(kind, fields, day):
            for wall in _times(kind, fields, day):
                instant = _instant(wall, zone)
                if instant is not None and after < instant <= until:
                    found.append(instant)
        day += timedelta(days=1)
    return found


def minutes_between(text: str) -> int:
    """The minutes of ``every_minute`` … ``every_hour``. Raises ``ValueError`` for other text."""
    found = _MINUTES.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return 60 if found[2] == "hour" else int(found[1] or 1)


def _is_day(kind: str, fields: Mapping[str, Any], day: date) -> bool:
    weekdays = fields.get("schedule_days_of_week", [])
    days = fields.get("schedule_days_of_month", [])
    if kind == "weekly":
        return day.isoweekday() % 7 in weekdays
    if kind == "monthly":
        return day.day in days
    if kind == "minutes":
        return day.isoweekday() % 7 in (weekdays or range(7)) and day.day in (days or range(32))
    return True


def _times(kind: str, fields: Mapping[str, Any], day: date) -> list[datetime]:
    hours = sorted(set(fields.get("schedule_hours", [])))
    if kind != "minutes":
        return [datetime.combine(day, time(hour)) for hour in hours]
    step = minutes_between(str(fields.get("schedule_minutes", "")))
    walls = (divmod(minute, 60) for minute in range(0, 24 * 60, step))
    return [
        datetime.combine(day, time(hour, minute))
        for hour, minute in walls
        if hour in (hours or range(24))
    ]


def _instant(wall: datetime, zone: ZoneInfo) -> datetime | None:
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    return instant if instant.astimezone(zone).replace(tzinfo=None) == wall else None
