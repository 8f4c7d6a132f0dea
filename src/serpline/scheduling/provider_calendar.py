"""A specification as ScaleSERP's calendar, or the reason why it cannot be one.

Their calendar has daily, weekly and monthly schedules that start on the hour in the time zone of
the account (docs.trajectdata.com/scaleserp, "Create Batch"). It is compared with ours instant by
instant, so that the two always mean the same. Time zones, clock changes and shifted days need no
rules of their own.

Pure: the account's zone and the present time are parameters.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo

from serpline.config.model import shown
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType
from serpline.providers.scaleserp.calendar import Calendar, ScheduleType, calendar
from serpline.scheduling.frequencies import Frequency
from serpline.scheduling.occurrences import Occurrence, occurrences
from serpline.scheduling.spec import Driver, ScheduleSpec

# Two years have every clock change and every length of a month.
COMPARED = timedelta(days=732)
_DAYS_OF_EVERY_MONTH = 28
_TYPES = {
    Frequency.DAILY: ScheduleType.DAILY,
    Frequency.WEEKLY: ScheduleType.WEEKLY,
    Frequency.MONTHLY: ScheduleType.MONTHLY,
}


def is_provider_driven(spec: ScheduleSpec) -> bool:
    """Whether a provider's calendar starts the searches of the specification."""
    return spec.driver is Driver.PROVIDER


def check_provider_driven(specs: Sequence[ScheduleSpec], zone: ZoneInfo, now: datetime) -> None:
    """Raise ``UserError`` for the first thing that the provider's calendar cannot express."""
    driven: set[ContentType] = set()
    for spec in filter(is_provider_driven, specs):
        calendar_of(spec, zone, now)
        for kind in spec.content_types:
            if kind in driven:
                raise _refused(
                    "content_type",
                    str(kind),
                    "a content type has one calendar at the provider; give one specification",
                )
            driven.add(kind)


def calendar_of(spec: ScheduleSpec, zone: ZoneInfo, now: datetime) -> Calendar:
    """The calendar with the instants of ``spec``. ``zone``: that of the account.

    Raises ``UserError`` that names the key and the value which the calendar cannot express.
    """
    written = spec.to_json()
    if spec.frequency not in _TYPES:
        raise _refused("frequency", spec.frequency, "it has daily, weekly and monthly only")
    for key, why in (
        ("start", "it has no first day"),
        ("end", "it has no last day"),
    ):
        if key in written:
            raise _refused(key, written[key], why)
    if spec.jitter_seconds:
        raise _refused("jitter", spec.jitter_seconds, "it starts on the hour")
    if spec.time_of_day is not None and spec.time_of_day.minute:
        raise _refused("time_of_day", written["time_of_day"], "it starts on the hour")
    _check_day(spec)
    expected = _until(spec, now)
    changed = next((hit for hit in expected if hit.note), None)
    if changed is not None:
        why = f"it is undefined on {changed.local:%Y-%m-%d}, when the clocks change"
        raise _refused("time_of_day", f"{spec.time_of_day or '00:00'}"[:5], why)
    return _compared(spec, expected, zone, now)


def next_start(wanted: Mapping[str, Any], zone: ZoneInfo, now: datetime) -> datetime | None:
    """When a batch of this wanted state starts next, if no budget holds it; None if never."""
    found = calendar(wanted["calendar"])
    if found is None or not may_start(wanted):
        return None
    given: dict[str, Any] = {
        "content_type": "news",
        "frequency": str(found.schedule_type),
        "timezone": zone.key,
        "time_of_day": f"{found.hour:02d}:00",
    }
    if found.schedule_type is ScheduleType.MONTHLY:
        given["day_of_month"] = found.days[0]
    elif found.days:
        given["days_of_week"] = list(found.days)
    return next(occurrences(ScheduleSpec.from_json(given), now)).scheduled_for


def may_start(wanted: Mapping[str, Any]) -> bool:
    """Whether the schedule wants starts; a budget may hold the next one back."""
    return bool(wanted["enabled"] or wanted.get("held_by"))


def _check_day(spec: ScheduleSpec) -> None:
    day = spec.day_of_month
    if day is not None and not 1 <= day <= _DAYS_OF_EVERY_MONTH:
        raise _refused("day_of_month", day, f"1 to {_DAYS_OF_EVERY_MONTH} exist in every month")


def _compared(
    spec: ScheduleSpec, expected: Sequence[Occurrence], zone: ZoneInfo, now: datetime
) -> Calendar:
    """The calendar in the account's zone, if it has exactly the expected instants."""
    first = expected[0].scheduled_for.astimezone(zone)
    shift = (first.date() - expected[0].local.date()).days
    given: dict[str, Any] = {
        "content_types": list(spec.content_types),
        "timezone": zone.key,
        "time_of_day": f"{first:%H:%M}",
    }
    days: tuple[int, ...] = ()
    if spec.frequency is Frequency.MONTHLY:
        days = ((spec.day_of_month or 1) + shift,)
        given |= {"frequency": "monthly", "day_of_month": days[0]}
    elif spec.days_of_week or spec.frequency is Frequency.WEEKLY:
        # Sunday is 0 in their calendar and 7 in ours.
        ours = [(day - 1 + shift) % 7 + 1 for day in spec.days_of_week or (1,)]
        days = tuple(sorted(day % 7 for day in ours))
        given |= {"frequency": "weekly", "days_of_week": [day % 7 for day in ours]}
    else:
        given |= {"frequency": "daily"}
    if first.minute or (spec.frequency is Frequency.MONTHLY and days[0] < 1):
        raise _zone_differs(spec, zone)
    same = ScheduleSpec.from_json(given)
    if [hit.scheduled_for for hit in _until(same, now)] != [hit.scheduled_for for hit in expected]:
        raise _zone_differs(spec, zone)
    return Calendar(_TYPES[same.frequency], first.hour, days)


def _until(spec: ScheduleSpec, now: datetime) -> list[Occurrence]:
    return list(takewhile(lambda hit: hit.scheduled_for <= now + COMPARED, occurrences(spec, now)))


def _zone_differs(spec: ScheduleSpec, zone: ZoneInfo) -> UserError:
    why = (
        f"it is in the account's zone {zone.key} (SERPLINE_SCALESERP_TIMEZONE), where these times"
        " are not always the same hours and days"
    )
    return _refused("timezone", spec.timezone.key, why)


def _refused(key: str, value: Any, why: str) -> UserError:
    value = value if isinstance(value, int) else str(value)
    return UserError(
        f"{key}={shown(value)}: ScaleSERP's calendar cannot express it (driver='provider'): {why}"
    )
