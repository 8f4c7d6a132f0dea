"""Changes of the clock in six zones over 2016 to 2026, through stored schedules and the tick.

PostgreSQL judges the slots: its own time zone code says which local times they have.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from harness.schedules import Schedules, spec

# Every local day of 2016 to 2026 lies between them, in each zone.
FIRST, LAST = datetime(2015, 12, 31, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC)
TYPES = ("organic", "news", "video")
# Times that a change of the zone skips, or repeats. Lord Howe changes by half an hour, São Paulo
# changed at midnight until 2019, Casablanca changes around Ramadan, Kathmandu never.
TIMES = {
    "America/New_York": ("02:30", "01:30", "00:00"),
    "Europe/London": ("01:30", "01:00", "02:00"),
    "Australia/Lord_Howe": ("02:15", "01:45", "02:00"),
    "America/Sao_Paulo": ("00:00", "00:30", "23:30"),
    "Africa/Casablanca": ("02:30", "02:00", "03:00"),
    "Asia/Kathmandu": ("00:15", "05:45", "23:45"),
}
# In these years the slots around a change start at their time. All others are decided later, many
# at once, as missed: their instants are the same.
STARTED_IN = (2016, 2018)
AROUND = timedelta(hours=3)
# The local time of a slot, and whether the zone's offset changes within a day of it.
_SLOTS = """
    WITH slot AS (
        SELECT s.content_type, s.scheduled_for AS at, t.wall,
            s.scheduled_for AT TIME ZONE :zone AS local,
            ((s.scheduled_for + interval '1 day') AT TIME ZONE :zone)
                - ((s.scheduled_for - interval '1 day') AT TIME ZONE :zone) <> interval '2 days'
                AS near_change
        FROM schedule_slots s JOIN unnest(CAST(:types AS text[]), CAST(:walls AS time[]))
            AS t(content_type, wall) USING (content_type)
    )
"""
_WRONG_DAYS = (
    f"{_SLOTS} SELECT t.content_type, day, count(slot.at) FROM unnest(CAST(:types AS text[]))"
    " AS t(content_type) CROSS JOIN generate_series(timestamp '2016-01-01',"
    " timestamp '2026-12-31', interval '1 day') AS day LEFT JOIN slot"
    " ON slot.content_type = t.content_type AND date_trunc('day', slot.local) = day"
    " GROUP BY 1, 2 HAVING count(slot.at) <> 1"
)
_WRONG_TIMES = f"{_SLOTS} SELECT * FROM slot WHERE NOT near_change AND CAST(local AS time) <> wall"
# Within six hours around a slot: the instants that have its wall-clock time, minute by minute.
_AROUND_CHANGES = f"""{_SLOTS}
    SELECT slot.*, CAST(local AS time) = wall AS is_wall_time,
        date_trunc('day', local) + wall AS wanted,
        (at - interval '1 second') AT TIME ZONE :zone AS just_before,
        (SELECT array_agg(g ORDER BY g) FROM generate_series(at - interval '3 hours',
            at + interval '3 hours', interval '1 minute') AS g
            WHERE g AT TIME ZONE :zone = date_trunc('day', local) + wall) AS same_times
    FROM slot WHERE near_change
"""


@pytest.mark.parametrize("zone", TIMES)
async def test_every_local_day_has_one_slot(schedules: Schedules, zone: str) -> None:
    """A skipped time runs at the first instant after the gap, a repeated one the first time."""
    schedules.clock.at = FIRST
    await schedules.service.add(
        zone,
        [
            spec(content_type=kind, timezone=zone, time_of_day=at, catch_up="none", overlap="allow")
            for kind, at in zip(TYPES, TIMES[zone], strict=True)
        ],
    )
    changes = _changes(zone)
    for instant in _ticks(changes):
        await schedules.at(instant)

    values: dict[str, Any] = {"zone": zone, "types": list(TYPES), "walls": list(TIMES[zone])}
    assert await schedules.query(_WRONG_DAYS, **values) == []
    assert await schedules.query(_WRONG_TIMES, **values) == []
    skipped = repeated = 0
    for slot in await schedules.query(_AROUND_CHANGES, **values):
        if slot["is_wall_time"]:
            assert slot["at"] == slot["same_times"][0], slot
            repeated += len(slot["same_times"]) > 1
        else:
            assert slot["same_times"] is None, slot
            # The clock jumps over the time from this second to the slot.
            assert slot["just_before"] < slot["wanted"] < slot["local"], slot
            skipped += 1
    assert (skipped >= 3, repeated >= 3) == ((False, False) if not changes else (True, True))
    started = await schedules.query("SELECT * FROM schedule_slots WHERE outcome = 'started'")
    assert {row["run_id"] for row in started} == {run["id"] for run in await schedules.runs()}
    for change in changes:
        if change.year in STARTED_IN:
            near = [abs(row["scheduled_for"] - change) <= AROUND for row in started]
            assert sum(near) >= 2, change


def _changes(zone: str) -> list[datetime]:
    """The instants at which the zone's offset changes, to the quarter of an hour."""
    step, found, at = timedelta(minutes=15), [], FIRST
    known = at.astimezone(ZoneInfo(zone)).utcoffset()
    while at < LAST:
        # A day at a time, and then the day of a change in quarters of an hour.
        following = at + timedelta(days=1)
        while following.astimezone(ZoneInfo(zone)).utcoffset() != known:
            at += step
            if at.astimezone(ZoneInfo(zone)).utcoffset() != known:
                known = at.astimezone(ZoneInfo(zone)).utcoffset()
                found.append(at)
        at = following
    return found


def _ticks(changes: list[datetime]) -> list[datetime]:
    """Twice a year, and every quarter of an hour around the changes of some years."""
    ticks = {datetime(year, month, 1, tzinfo=UTC) for year in range(2016, 2027) for month in (1, 7)}
    for change in changes:
        if change.year in STARTED_IN:
            ticks |= {change + timedelta(minutes=15 * n) for n in range(-12, 13)}
    return sorted({*ticks, LAST})
