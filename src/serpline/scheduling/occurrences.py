"""The instants at which a schedule is due. Pure: a specification always has the same instants.

Instants strictly increase. None is lost or duplicated, whatever ``after`` the list starts from. A
wall-clock time that a clock change skips runs once, at the first instant after the gap. Several
skipped times, or a skipped time that falls on a regular one, make one occurrence. A wall-clock
time that happens twice runs once, the first time. Cron expressions name wall-clock times too, so
``0 * * * *`` does not run in the repeated hour. An interval is elapsed time, so clock changes do
not affect it.

``start`` and ``end`` of the specification remove instants and move none.

Limits: nothing later than 100 years after ``after``, or after ``start`` if that is later; ``after``
from 1900 to 2999.
"""

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

from serpline.domain.errors import UserError
from serpline.scheduling.frequencies import Frequency
from serpline.scheduling.spec import ScheduleSpec
from serpline.scheduling.values import YEAR_MAX, YEAR_MIN

HORIZON = timedelta(days=36_525)
_QUARTER_MONTHS = (1, 4, 7, 10)
_MONDAY = (1,)
_EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time a schedule is due: the instant in UTC, and the same in the schedule's zone.

    ``note`` explains how a clock change affected it; else None.
    """

    scheduled_for: datetime
    local: datetime
    note: str | None = None


def occurrences(spec: ScheduleSpec, after: datetime) -> Iterator[Occurrence]:
    """Yield the occurrences strictly after ``after`` (aware), soonest first."""
    start = in_utc("after", after)
    if spec.first is not None:
        start = max(start, spec.first - _TICK)
    found = (_steps if spec.frequency is Frequency.INTERVAL else _due)(spec, start)
    last = spec.last
    if last is None:
        return found
    return takewhile(lambda occurrence: occurrence.scheduled_for <= last, found)


def is_due(spec: ScheduleSpec, instant: datetime) -> Occurrence | None:
    """The occurrence at exactly ``instant`` (aware), or None."""
    first = next(occurrences(spec, in_utc("instant", instant) - _TICK), None)
    return first if first and first.scheduled_for == instant else None


def in_utc(name: str, instant: datetime) -> datetime:
    """Convert ``instant`` to UTC. Raises ``UserError`` if it is out of range or has no offset."""
    if instant.tzinfo is None or not YEAR_MIN <= instant.year <= YEAR_MAX:
        must = f"must be {YEAR_MIN} to {YEAR_MAX}, with an offset from UTC"
        raise UserError(f"{name}={instant.isoformat()}: {must}")
    return instant.astimezone(UTC)


def _steps(spec: ScheduleSpec, start: datetime) -> Iterator[Occurrence]:
    step = timedelta(seconds=spec.interval_seconds or 0)
    instant = spec.counted_from + step * ((start - spec.counted_from) // step + 1)
    while instant <= start + HORIZON:
        yield Occurrence(instant, instant.astimezone(spec.timezone))
        instant += step


def _due(spec: ScheduleSpec, start: datetime) -> Iterator[Occurrence]:
    latest = start
    for wall in _wall_times(spec, start.astimezone(spec.timezone).replace(tzinfo=None)):
        found = _at(wall, spec.timezone)
        if found.scheduled_for > start + HORIZON:
            return
        if found.scheduled_for > latest:
            latest = found.scheduled_for
            yield found


def _wall_times(spec: ScheduleSpec, start: datetime) -> Iterator[datetime]:
    """Yield wall-clock times without zone, ascending, from the day of ``start`` or earlier."""
    if spec.cron is not None:
        # Without a zone the library steps through wall-clock times; ``_at`` applies the zone.
        yield from CronSim(spec.cron, start)
    elif spec.frequency in (Frequency.MONTHLY, Frequency.QUARTERLY):
        for day in _days_of_months(spec, start.date()):
            yield datetime.combine(day, spec.time_of_day or time())
    elif spec.frequency in (Frequency.DAILY, Frequency.WEEKLY):
        for day in _days_of_weeks(spec, start.date()):
            yield datetime.combine(day, spec.time_of_day or time())
    else:
        raise AssertionError(f"no rule for frequency {spec.frequency}")


def _days_of_weeks(spec: ScheduleSpec, start: date) -> Iterator[date]:
    default = _MONDAY if spec.frequency is Frequency.WEEKLY else _EVERY_DAY
    weekdays = spec.days_of_week or default
    day = start
    while True:
        if day.isoweekday() in weekdays:
            yield day
        day += timedelta(days=1)


def _days_of_months(spec: ScheduleSpec, start: date) -> Iterator[date]:
    year, month = start.year, start.month
    day = 1 if spec.day_of_month is None else spec.day_of_month
    while True:
        if spec.frequency is Frequency.MONTHLY or month in _QUARTER_MONTHS:
            last = monthrange(year, month)[1]
            yield date(year, month, last if day == -1 else min(day, last))
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def _at(wall: datetime, zone: ZoneInfo) -> Occurrence:
    """Find the instant of a wall-clock time in a zone."""
    earlier, later = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    instant, note = earlier.astimezone(UTC), None
    if instant.astimezone(zone).replace(tzinfo=None) != wall:
        instant = _end_of_gap(zone, later.astimezone(UTC), instant)
        note = (
            f"{wall:%Y-%m-%d %H:%M} does not exist in {zone.key}: runs at the first instant after"
            " the clock change"
        )
    elif earlier.utcoffset() != later.utcoffset():
        note = f"{wall:%Y-%m-%d %H:%M} happens twice in {zone.key}: runs the first time only"
    return Occurrence(instant, instant.astimezone(zone), note)


def _end_of_gap(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """Find the offset change in (``low``, ``high``]; zones change at whole seconds."""
    after = high.astimezone(zone).utcoffset()

    def is_after(seconds: int) -> bool:
        return (low + timedelta(seconds=seconds)).astimezone(zone).utcoffset() == after

    span = int((high - low).total_seconds())
    return low + timedelta(seconds=bisect_left(range(span), True, key=is_after))
