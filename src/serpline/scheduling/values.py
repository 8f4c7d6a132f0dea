"""Time values of a schedule specification, read from their JSON form."""

import re
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import (
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError
from pydantic_core import core_schema as cs

from serpline.config.values import Allowed, ListOf, Must, read_time

DAY_SECONDS = 86_400
CRON_CHARACTERS_MAX = 200
YEAR_MIN, YEAR_MAX = 1900, 2999
_DURATION = r"([0-9]{1,9}[smhdw])+"
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": DAY_SECONDS, "w": 7 * DAY_SECONDS}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAY_WORDS = "monday to sunday, mon to sun, or 0 to 7 (0 and 7 = sunday)"
_NAMES = [*_WEEKDAYS, *(name[:3] for name in _WEEKDAYS)]
_CRON = Allowed("five fields: minute, hour, day of month, month, day of week")
_CRON_FIELDS = (
    "minute is 0 to 59, hour 0 to 23, day of month 1 to 31 or L (the last), month 1 to 12 or jan to"
    " dec, day of week 0 to 7 or mon to sun"
)
_ZONE = Allowed("an IANA time zone such as Europe/Berlin")


def _iso_weekday(given: str | int) -> int:
    """1 (Monday) to 7, from a name or from cron's number."""
    return (given if isinstance(given, int) else _NAMES.index(given) % 7 + 1) or 7


def duration(low: int, high: int) -> Must:
    """Whole seconds, given as a number or as ``"90s"``, ``"1h30m"``, ``"2d"``."""
    seconds = cs.int_schema(strict=True, ge=low, le=high)
    either = cs.union_schema([seconds, cs.str_schema(pattern=f"^{_DURATION}$")])
    return Must(
        f"{low} to {high} seconds: a number, or like 90s, 1h30m, 2d",
        cs.no_info_before_validator_function(_seconds, seconds, json_schema_input_schema=either),
    )


def _seconds(given: Any) -> Any:
    if not isinstance(given, str) or not re.fullmatch(_DURATION, given):
        return given
    parts = re.findall(r"([0-9]+)([smhdw])", given)
    return sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts)


@cache
def _zone_names() -> frozenset[str]:
    # Use the packaged list: the machine's files have extra names ("localtime").
    return frozenset(files("tzdata").joinpath("zones").read_text("utf-8").split())


def _time_zone(given: Any) -> ZoneInfo:
    if not isinstance(given, str) or given not in _zone_names():
        near = get_close_matches(str(given)[:64], _zone_names(), n=1)
        raise _ZONE.error(f" (did you mean {near[0]}?)" if near else "")
    return ZoneInfo(given)


def _cron(given: Any) -> str:
    """Read a cron expression of five fields that matches at least once in 50 years."""
    if not isinstance(given, str) or len(given) > CRON_CHARACTERS_MAX or len(given.split()) != 5:
        raise _CRON.error()
    expression = " ".join(given.split())
    try:
        found = next(CronSim(expression, datetime(2000, 1, 1)), None)  # noqa: DTZ001  wall time
    except CronSimError as error:
        why = f"{str(error).lower()}: {_CRON_FIELDS}"
        raise PydanticCustomError("must", "{why}", {"why": why}) from None
    if found is None:
        raise PydanticCustomError("must", "never matches")
    return expression


def _instant(given: Any) -> datetime:
    read = read_time(given)
    try:
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError(given) from None


def _bound(given: Any) -> date:
    """Read a date or an aware instant, both with a year that occurrences allow."""
    if isinstance(given, str) and re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", given):
        read: date = date.fromisoformat(given)
    else:
        read = given if type(given) is date else read_time(given)
    if isinstance(read, datetime) and read.tzinfo is None:
        raise ValueError(given)
    if not YEAR_MIN <= read.year <= YEAR_MAX:
        raise ValueError(given)
    return read


def first_instant(bound: date, zone: ZoneInfo) -> datetime:
    """The instant of a time, or the first one of a day in ``zone``, in UTC."""
    if not isinstance(bound, datetime):
        # If the clock change skips midnight, this is the first instant after the gap.
        bound = datetime.combine(bound, time(), tzinfo=zone)
    return bound.astimezone(UTC)


def last_instant(bound: date, zone: ZoneInfo) -> datetime:
    """The instant of a time, or the last one of a day in ``zone``, in UTC."""
    if isinstance(bound, datetime):
        return bound.astimezone(UTC)
    return first_instant(bound + timedelta(days=1), zone) - timedelta(microseconds=1)


TimeOfDay = Annotated[
    time,
    Must(
        "HH:MM, 00:00 to 23:59",
        cs.no_info_after_validator_function(
            time.fromisoformat,
            cs.str_schema(strict=True, pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$"),
        ),
    ),
    PlainSerializer(lambda at: f"{at:%H:%M}", return_type=str),
]
Weekday = Annotated[
    int,
    Must(
        _WEEKDAY_WORDS,
        cs.no_info_after_validator_function(
            _iso_weekday,
            cs.no_info_before_validator_function(
                lambda given: given.lower() if isinstance(given, str) else given,
                cs.union_schema(
                    [cs.literal_schema(_NAMES), cs.int_schema(strict=True, ge=0, le=7)]
                ),
            ),
        ),
    ),
    PlainSerializer(lambda number: _WEEKDAYS[number - 1], return_type=str),
]
DaysOfWeek = Annotated[tuple[Weekday, ...], ListOf(range(1, 8), _WEEKDAY_WORDS)]
DayOfMonth = Annotated[
    int,
    Must(
        "1 to 31, or -1 for the last day of the month",
        cs.union_schema(
            [cs.int_schema(strict=True, ge=1, le=31), cs.int_schema(strict=True, ge=-1, le=-1)]
        ),
    ),
]
Zone = Annotated[
    ZoneInfo,
    PlainValidator(_time_zone),
    PlainSerializer(lambda zone: zone.key, return_type=str),
    WithJsonSchema({"type": "string"}),
    _ZONE,
]
Cron = Annotated[str, BeforeValidator(_cron), _CRON]
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(datetime.isoformat, return_type=str, when_used="json"),
    Must("an ISO 8601 time such as 2026-01-31T09:00:00Z"),
]
Bound = Annotated[
    date,
    PlainValidator(_bound, json_schema_input_type=str),
    PlainSerializer(lambda bound: bound.isoformat(), return_type=str, when_used="json"),
    Must(
        f"a date such as 2026-01-31, or an ISO 8601 time with a time zone, in {YEAR_MIN} to"
        f" {YEAR_MAX}"
    ),
]
INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)
